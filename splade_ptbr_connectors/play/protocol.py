"""HTTP of the page: uvicorn's, but for requests that are too large to be read."""

from __future__ import annotations

import json

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_REQUEST_BYTES = 16 * 2**20  # of a request before its body: address and headers; a query that is too long is read, to be told so
LINGER_S = 30  # that a client has to send the rest of what is not read
TOLD = {
    "type": "InputError",
    "message": "the request has more than 16 MiB before its body: shorten its address, with query and filter, or its headers; a query has "
    "at most 10,000 characters.",
}


class Protocol(H11Protocol):
    """Answers a request that is too large: uvicorn's closes the connection on a client that is still sending, who then reads no answer.

    Where a request that was answered goes on with what is not HTTP, it closes the connection; uvicorn's answers once more, and fails.
    """

    _answered = False

    def data_received(self, data: bytes) -> None:
        if not self._answered:  # the rest is left unread: the client closes when it has read the answer
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
        elif self.conn.our_state is h11.IDLE and len(self.conn.trailing_data[0]) > MAX_REQUEST_BYTES:
            self._refuse()
        else:
            super().send_400_response(msg)

    def _refuse(self) -> None:
        self._answered = True
        body = json.dumps({"error": TOLD}).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        for event in (h11.Response(status_code=413, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.loop.call_later(LINGER_S, self.transport.close)
