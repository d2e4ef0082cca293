"""The API over HTTP. Handlers translate: the wire in, one use case, the wire out."""
