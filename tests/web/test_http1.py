"""Answers of the hot endpoints as they stand on the wire."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import h11
import pytest

from web import http1
from web.answer import Answer


def _sent(answer: Answer, *, close: bool = False) -> tuple[h11.Response, bytes, list[bytes]]:
    """An answer as a strict client reads it, and the pieces in which it left."""
    left, right = socket.socketpair()
    pieces: list[bytes] = []

    class Client:
        def sendall(self, data: bytes) -> None:
            pieces.append(data)
            left.sendall(data)

    with left, right:
        http1.send(Client(), answer, close=close)
        left.shutdown(socket.SHUT_WR)
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")]))
        client.send(h11.EndOfMessage())
        while data := right.recv(65536):
            client.receive_data(data)
    head = client.next_event()
    assert isinstance(head, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert client.their_state is (h11.MUST_CLOSE if close else h11.DONE)
    return head, body, pieces


def test_an_answer_leaves_in_one_write() -> None:
    head, body, pieces = _sent(Answer(b'{"a": 1}', 200, {"x-gateway-job": "job-1"}))

    told = dict(head.headers)
    assert head.status_code == 200 and body == b'{"a": 1}' and len(pieces) == 1
    assert told[b"content-type"] == b"application/json" and told[b"x-gateway-job"] == b"job-1" and told[b"date"]


def test_a_stream_leaves_in_chunks_and_its_head_with_the_first() -> None:
    head, body, pieces = _sent(Answer(iter([b"", b"one", b"", b"two" * 5000]), content_type="text/event-stream"))

    assert body == b"one" + b"two" * 5000 and dict(head.headers)[b"transfer-encoding"] == b"chunked"
    assert [piece[:8] for piece in pieces] == [b"HTTP/1.1", b"3a98\r\ntw", b"0\r\n\r\n"]


def test_an_empty_stream_is_a_whole_answer() -> None:
    assert _sent(Answer(iter(())))[1] == b""


def test_the_last_answer_of_a_connection_says_so() -> None:
    assert dict(_sent(Answer(b""), close=True)[0].headers)[b"connection"] == b"close"


@pytest.mark.parametrize("status", [200, 404, 499, 503])
def test_every_status_has_a_line(status: int) -> None:
    assert _sent(Answer(b"", status))[0].status_code == status


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\rb"])
def test_no_header_smuggles_another_in(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        _sent(Answer(b"", 200, {"x-gateway-dropped": value}))


def test_a_stream_that_breaks_is_closed_behind_its_client() -> None:
    closed = []

    def body() -> Any:
        try:
            yield b"one"
            raise RuntimeError("broke")
        finally:
            closed.append(True)

    with pytest.raises(RuntimeError):
        _sent(Answer(body()))
    assert closed


def test_repeated_headers_are_joined_and_lengths_are_not_renamed() -> None:
    headers = [("CONTENT-LENGTH", "2"), ("X-GATEWAY-PROVIDER", "a"), ("X-GATEWAY-PROVIDER", "b")]
    request = SimpleNamespace(method="POST", path="/v1/embeddings", body=None, headers=headers)

    found = http1.environ(request, None)

    assert found["CONTENT_LENGTH"] == "2" and found["HTTP_X_GATEWAY_PROVIDER"] == "a,b"


def test_no_request_header_passes_for_what_the_server_says() -> None:
    headers = [("WSGI.INPUT", "x"), ("PATH-INFO", "/config"), ("GUNICORN.SOCKET", "x")]
    request = SimpleNamespace(method="POST", path="/v1/embeddings", body="body", headers=headers)

    found = http1.environ(request, "socket")

    assert (found["wsgi.input"], found["PATH_INFO"], found["gunicorn.socket"]) == ("body", "/v1/embeddings", "socket")
