"""The operators' front door: the command ``kernex``. One file a noun; `client` speaks HTTP, `render` prints."""
