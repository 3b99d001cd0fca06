"""The hot endpoints' plain requests and their answers as HTTP/1.1, without gunicorn's parser and WSGI in between, which
together cost a quarter of what the door costs.

What is not plain (another path, chunks, a large body, a header twice, an `Expect`, anything that cannot be read) is
left to gunicorn, byte for byte: it knows what to refuse. This is imported before gevent patches the standard library,
so nothing here may import ssl.
"""

from __future__ import annotations

import functools
import io
import time
from collections.abc import Generator
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import httptools

Environ = dict[str, Any]

HOT = frozenset(("/v1/chat/completions", "/v1/completions", "/v1/embeddings"))
_BEGINNINGS = tuple(f"POST {path} HTTP/1.1\r\n".encode() for path in HOT)
_LONGEST_BEGINNING = max(map(len, _BEGINNINGS))
_MOST_HEAD_BYTES = 16_384
_MOST_HEADERS = 100
_MOST_BODY_BYTES = 65_536
_NOT_PLAIN = frozenset(("TRANSFER-ENCODING", "EXPECT", "UPGRADE", "TRAILER", "TE"))
_STATUSES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class NotPlain(Exception):
    """A request that gunicorn has to read; also the end of a connection."""


class Reader:
    """Reads one connection's requests for as long as they are plain ones to hot endpoints."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.held = b""  # what was read and belongs to no request that was given out

    def next(self) -> tuple[Environ, bool]:
        """The next request as what the front looks at of a WSGI environment, and whether the connection goes on after
        it.

        Raises:
            NotPlain: gunicorn has to read on, from `held`.
            OSError: the connection broke, or nothing came in the socket's timeout.
        """
        while (end := self.held.find(b"\r\n\r\n")) < 0:
            if not self._may_be_hot() or len(self.held) > _MOST_HEAD_BYTES:
                raise NotPlain
            self._more()
        if not self.held.startswith(_BEGINNINGS) or end > _MOST_HEAD_BYTES:
            raise NotPlain
        head = _Head(self.held[: end + 4])
        whole = end + 4 + head.body_bytes
        while len(self.held) < whole:
            self._more()
        body, self.held = self.held[end + 4 : whole], self.held[whole:]
        return head.environ | {"wsgi.input": io.BytesIO(body), "gunicorn.socket": self._client}, head.keeps

    def _may_be_hot(self) -> bool:
        begins = self.held[:_LONGEST_BEGINNING]
        return any(begins.startswith(each) or each.startswith(begins) for each in _BEGINNINGS)

    def _more(self) -> None:
        data = self._client.recv(65_536)
        if not data:
            raise NotPlain
        self.held = self.held + data if self.held else data


class _Head:
    """A request's first line and headers, read by llhttp."""

    def __init__(self, head: bytes) -> None:
        self.environ: Environ = {"REQUEST_METHOD": "POST"}
        if not head.count(b"\r") == head.count(b"\n") == head.count(b"\r\n"):
            raise NotPlain  # where it ends would be a matter of taste
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(head)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise NotPlain from error
        length = self.environ.get("CONTENT_LENGTH", "")
        if not length.isdecimal() or not length.isascii() or int(length) > _MOST_BODY_BYTES:
            raise NotPlain
        if "HTTP_HOST" not in self.environ or len(self.environ) > _MOST_HEADERS:
            raise NotPlain
        self.body_bytes = int(length)
        self.keeps: bool = parser.should_keep_alive()

    def on_url(self, url: bytes) -> None:
        self.environ["PATH_INFO"] = url.decode("ascii")

    def on_header(self, raw_name: bytes, raw_value: bytes) -> None:
        name = raw_name.decode("latin-1").upper()
        key = "CONTENT_LENGTH" if name == "CONTENT-LENGTH" else "HTTP_" + name.replace("-", "_")
        if name in _NOT_PLAIN or "_" in name or key in self.environ:
            raise NotPlain
        self.environ[key] = raw_value.decode("latin-1").strip(" \t")


def status_line(status: int) -> str:
    return _STATUSES.get(status) or f"{status} Unknown"


def send(client: Any, answer: Any, *, close: bool) -> None:
    """Write a `web.answer.Answer`; its head leaves with the first bytes of its body.

    close: the connection ends with it.
    """
    body = answer.body
    if isinstance(body, bytes):
        client.sendall(_head_of(answer, f"Content-Length: {len(body)}", close=close) + body)
        return
    chunks = _Chunks(client, _head_of(answer, "Transfer-Encoding: chunked", close=close))
    if answer.straight is not None:
        answer.straight(chunks.push)
    try:
        for part in body:
            chunks.send(part)
        chunks.end()
    finally:
        if isinstance(body, Generator):
            body.close()


class _Chunks:
    """A body in chunks, behind a head that leaves with the first of them."""

    __slots__ = ("_client", "_head")

    def __init__(self, client: Any, head: bytes) -> None:
        self._client = client
        self._head = head

    def send(self, part: bytes) -> None:
        if part:  # an empty chunk would end the answer
            self._client.sendall(self._framed(part))

    def push(self, part: bytes) -> bool:
        """Send a part without waiting; whether all of it is out, and nothing left to the next `send`."""
        return not part or self._client.push(self._framed(part))

    def end(self) -> None:
        self._client.sendall(self._head + b"0\r\n\r\n")

    def _framed(self, part: bytes) -> bytes:
        head, self._head = self._head, b""
        return b"%b%x\r\n%b\r\n" % (head, len(part), part)


def _head_of(answer: Any, framing: str, *, close: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {status_line(answer.status)}",
        f"Date: {_date(int(time.time()))}",
        f"Content-Type: {answer.content_type}",
        framing,
        *[f"{name}: {value}" for name, value in answer.headers.items()],
        "Connection: close" if close else "Connection: keep-alive",
        "\r\n",
    ]
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) or head.count("\r") != len(lines):
        raise ValueError("a header's value has a line break in it")
    return head.encode("latin-1")


@functools.lru_cache(maxsize=1)
def _date(now_s: int) -> str:
    return formatdate(now_s, usegmt=True)
