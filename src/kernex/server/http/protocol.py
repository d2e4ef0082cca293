"""uvicorn's HTTP protocol with a cap on what comes before the body.

httptools gathers header lines without a limit; a stranger could fill the memory with one that never ends.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024  # of request line and headers, beyond the read that brings them


class CappedHttp(HttpToolsProtocol):
    """Hangs up on a head over the cap, before more of it is held."""

    _in_head = True
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.transport.close()

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
