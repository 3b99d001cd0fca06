"""Requests and answers of the hot endpoints as they stand on the wire."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import h11
import pytest

from web import http1
from web.answer import Answer, Push


def _sent(answer: Answer, *, close: bool = False) -> tuple[h11.Response, bytes, list[bytes]]:
    """An answer as a strict client reads it, and the pieces in which it left."""
    left, right = socket.socketpair()
    pieces: list[bytes] = []

    class Client:
        def sendall(self, data: bytes) -> None:
            pieces.append(data)
            left.sendall(data)

        def push(self, data: bytes) -> bool:
            self.sendall(data)
            return True

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


def test_parts_can_be_pushed_between_those_of_the_body() -> None:
    pushes: list[Push] = []

    def body() -> Iterator[bytes]:
        (push,) = pushes
        yield b""
        assert push(b"one") and push(b"") and push(b"two")
        yield b"three"
        assert push(b"four")

    head, whole, pieces = _sent(Answer(body(), straight=pushes.append))

    assert whole == b"onetwothreefour" and dict(head.headers)[b"transfer-encoding"] == b"chunked"
    assert pieces[0].startswith(b"HTTP/1.1 200") and pieces[0].endswith(b"\r\n3\r\none\r\n")
    assert pieces[1:] == [b"3\r\ntwo\r\n", b"5\r\nthree\r\n", b"4\r\nfour\r\n", b"0\r\n\r\n"]


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


PLAIN = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer gw-a-b\r\nContent-Length: 2\r\n"


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def test_a_request_is_read_however_it_is_cut(ends: tuple[socket.socket, socket.socket]) -> None:
    client, server = ends
    reader = http1.Reader(server)
    for cut in range(1, len(PLAIN) + 4):
        client.sendall((PLAIN + b"\r\n{}")[:cut])
        reader.held = server.recv(1000)
        client.sendall((PLAIN + b"\r\n{}")[cut:])

        environ, keeps = reader.next()

        assert keeps and environ["PATH_INFO"] == "/v1/embeddings" and environ["REQUEST_METHOD"] == "POST"
        assert environ["HTTP_AUTHORIZATION"] == "Bearer gw-a-b" and environ["CONTENT_LENGTH"] == "2"
        assert environ["wsgi.input"].read() == b"{}" and environ["gunicorn.socket"] is server and not reader.held


def test_requests_that_come_together_are_given_out_one_by_one(ends: tuple[socket.socket, socket.socket]) -> None:
    client, server = ends
    reader = http1.Reader(server)
    client.sendall((PLAIN + b"\r\n{}") * 2 + PLAIN + b"Connection: close\r\n\r\n[]")

    assert [reader.next()[1] for _ in range(3)] == [True, True, False]


NOT_PLAIN = {
    "another path": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    "a query": PLAIN.replace(b"embeddings", b"embeddings?a=b") + b"\r\n{}",
    "another method": PLAIN.replace(b"POST", b"GET") + b"\r\n{}",
    "an old version": PLAIN.replace(b"/1.1", b"/1.0") + b"\r\n{}",
    "no host": PLAIN.replace(b"Host: x\r\n", b"") + b"\r\n{}",
    "two hosts": PLAIN + b"Host: y\r\n\r\n{}",
    "two lengths": PLAIN + b"Content-Length: 2\r\n\r\n{}",
    "a length and chunks": PLAIN + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "no length": PLAIN.replace(b"Content-Length: 2\r\n", b"") + b"\r\n{}",
    "a length that is none": PLAIN.replace(b": 2", b": 2x") + b"\r\n{}",
    "a negative length": PLAIN.replace(b": 2", b": -2") + b"\r\n{}",
    "a large body": PLAIN.replace(b": 2", b": 70000") + b"\r\n{}",
    "a wait for 100": PLAIN + b"Expect: 100-continue\r\n\r\n{}",
    "an upgrade": PLAIN + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n{}",
    "a name with an underscore": PLAIN + b"Content_Length: 9\r\n\r\n{}",
    "a space before the colon": PLAIN + b"X : y\r\n\r\n{}",
    "a folded line": PLAIN + b"X: y\r\n z\r\n\r\n{}",
    "a bare line feed": PLAIN.replace(b"Host: x\r\n", b"Host: x\n") + b"\r\n{}",
    "a head in a head": PLAIN.replace(b"Host: x\r\n", b"Host: x\nContent-Length: 0\n\n") + b"\r\n{}",
    "a bare return": PLAIN + b"X: y\rZ: 1\r\n\r\n{}",
    "a zero byte": PLAIN + b"X: \0\r\n\r\n{}",
    "a large head": PLAIN + b"X: " + b"y" * 20_000 + b"\r\n\r\n{}",
    "many headers": PLAIN + b"".join(b"X%d: y\r\n" % each for each in range(200)) + b"\r\n{}",
    "an end in the head": PLAIN,
    "an end in the body": PLAIN + b"\r\n{",
    "nothing": b"",
    "noise": b"\x16\x03\x01\x02\x00\x01\x00",
}


@pytest.mark.parametrize("sent", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_what_is_not_plain_is_left_as_it_came(sent: bytes, ends: tuple[socket.socket, socket.socket]) -> None:
    client, server = ends
    reader = http1.Reader(server)
    client.sendall(PLAIN + b"\r\n{}" + sent)
    client.shutdown(socket.SHUT_WR)
    reader.next()

    with pytest.raises(http1.NotPlain):
        reader.next()

    while data := server.recv(65536):
        reader.held += data
    assert reader.held == sent


def test_no_request_header_passes_for_what_the_server_says(ends: tuple[socket.socket, socket.socket]) -> None:
    client, server = ends
    client.sendall(PLAIN + b"wsgi.input: x\r\nPath-Info: /config\r\ngunicorn.socket: x\r\n\r\n{}")

    environ, _ = http1.Reader(server).next()

    assert environ["wsgi.input"].read() == b"{}" and environ["PATH_INFO"] == "/v1/embeddings"
    assert environ["gunicorn.socket"] is server
