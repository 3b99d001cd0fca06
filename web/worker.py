"""gunicorn's gevent worker, taught to send nobody away who can still be answered.

It is imported before gevent patches the standard library, so nothing here may import ssl: no redis, and of `web` only
what keeps to the same.
"""

from __future__ import annotations

import contextlib
import os
import time
from socket import MSG_DONTWAIT as _MSG_DONTWAIT
from typing import Any

import gevent
import orjson
from gevent import socket
from gunicorn.http.errors import (
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
)
from gunicorn.workers.ggevent import GeventWorker

from mesh.errors import RequestError
from web import http1

_INFORMING = (b"HTTP/1.1 1", b"HTTP/1.0 1")  # heads after which the client speaks, or waits for another
_UNREAD_S = 60.0
_LAST_WORDS_S = 5.0  # of the grace, kept for telling those who still wait
_STATUSES = {LimitRequestLine: b"414 URI Too Long", LimitRequestHeaders: b"431 Request Header Fields Too Large"}
_DONT_WAIT = int(_MSG_DONTWAIT)  # the enum's own `|` costs more than the rest of a send
_OUR_OWN = (InvalidResponseHeader, InvalidResponseHeaderName)
_REFUSED = (
    b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Type: application/json\r\n"
    b"x-request-id: %b\r\nContent-Length: %d\r\n\r\n%b"
)


class ClientSocket(socket.socket):
    """A client's socket that asks the kernel for its buffer's size only when that is full, not at every chunk.

    An answer's head leaves with the first bytes of its body, while `holds_heads` is set: one call of the kernel less,
    and one packet.
    """

    holds_heads = False
    read_ahead = b""  # read by one and left to another
    _held = b""  # leaves before whatever is sent next

    def recv(self, size: int, *flags: Any) -> Any:
        if self.read_ahead:
            data, self.read_ahead = self.read_ahead[:size], self.read_ahead[size:]
            return data
        return super().recv(size, *flags)

    def flush(self) -> None:
        """Send a head that has no body."""
        if self._held:
            self.sendall(b"")

    def push(self, data: bytes) -> bool:
        """Send what the kernel takes at once, and hold the rest; whether there is none."""
        data, self._held = self._held + data, b""
        try:
            sent = self._sock.send(data, _DONT_WAIT)
        except OSError:  # full, or broken: then the next `sendall` will say so
            sent = 0
        self._held = data[sent:]
        return not self._held

    def sendall(self, data: Any, flags: int = 0) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        elif self.holds_heads and data.startswith(b"HTTP/1.") and not data.startswith(_INFORMING):
            self._held = data
            return
        try:
            sent = self._sock.send(data, flags | _DONT_WAIT)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            # One that does not read must not hold its request for ever.
            with gevent.Timeout(_UNREAD_S, TimeoutError("the client does not read")):
                super().sendall(memoryview(data)[sent:], flags)


class _Named:
    """What gunicorn asks of a listener."""

    def __init__(self, name: Any) -> None:
        self._name = name

    def getsockname(self) -> Any:
        return self._name


class DoorWorker(GeventWorker):
    """On SIGTERM: sockets are closed with 1001, running requests end, the last are told that their jobs go on.

    gunicorn alone would wait for idle kept-alive connections until its grace is over.
    """

    active = 0  # requests being answered

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        sock = ClientSocket(client.family, client.type, client.proto, client.detach())
        name = listener.getsockname()  # while it has one: it may be closed when gunicorn asks
        reader = http1.Reader(sock)
        sock.settimeout(self.cfg.keepalive)
        try:
            while self._serve(sock, *reader.next()):
                pass
        except http1.NotPlain:
            sock.read_ahead = reader.held
            super().handle(_Named(name), sock, addr)
        except (OSError, gevent.GreenletExit):  # the client's end of it, or the grace is over
            sock.close()
        else:
            sock.close()

    def _serve(self, sock: Any, environ: http1.Environ, keeps: bool) -> bool:
        """Whether the connection goes on."""
        self.active += 1
        try:
            answer = self.wsgi.wsgi_app.answer(environ)
            goes_on = keeps and self.alive
            http1.send(sock, answer, close=not goes_on)
        except OSError:
            raise
        except Exception:
            # Its head may be out: another answer behind it would be read as part of it.
            self.log.exception("Error handling request")
            return False
        finally:
            self.active -= 1
        return goes_on

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        self.active += 1
        sock.holds_heads = True
        try:
            return super().handle_request(listener_name, req, sock, addr)
        finally:
            sock.holds_heads = False
            self.active -= 1
            with contextlib.suppress(OSError):
                sock.flush()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """What is refused before it is a request is refused in the same shape as everything else."""
        if not isinstance(exc, ParseException) or isinstance(exc, _OUR_OWN):
            super().handle_error(req, client, addr, exc)
            return
        error = RequestError(f"This is no HTTP request that can be read: {exc}", code="invalid_http")
        body = orjson.dumps({"error": error.body()})
        with contextlib.suppress(OSError):
            client.sendall(
                _REFUSED
                % (_STATUSES.get(type(exc), b"400 Bad Request"), os.urandom(16).hex().encode(), len(body), body)
            )

    def handle_exit(self, sig: Any, frame: Any) -> None:
        gevent.spawn(self._drain)
        super().handle_exit(sig, frame)

    def _drain(self) -> None:
        door = self.wsgi.extensions["door"]
        door.drain()
        self._wait_idle(self.cfg.graceful_timeout - _LAST_WORDS_S)
        door.dismiss()
        self._wait_idle(_LAST_WORDS_S)
        self.cfg.set("graceful_timeout", 0)

    def _wait_idle(self, most_s: float) -> None:
        until = time.monotonic() + most_s
        while self.active and time.monotonic() < until:
            gevent.sleep(0.05)
