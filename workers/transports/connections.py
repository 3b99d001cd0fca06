"""HTTP/1.1 to one server: connections that are kept from one request to the next, with one request at a time on each.

A general client (cookies, redirects, proxies, content types) costs several times the CPU of all that the mesh does for
a request; a provider needs none of it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import httptools
from aiohappyeyeballs import start_connection

KEPT_S = 15.0  # an idle connection that is older may have been forgotten by whatever lies between
_NEXT_ADDRESS_S = 0.25  # after which a host's next address is tried beside the one that does not answer
_MOST_UNREAD = 1024 * 1024  # bytes; above this the server has to wait
_LONGEST_HEAD = 256 * 1024  # bytes
_PATH = "/%?~!$&'()*+,;=:@"  # what stays as it is in a path, with its query
_PORTS = {"http": 80, "https": 443}


class SlowToConnect(OSError):
    """The server did not accept a connection in time."""


class Connection(asyncio.Protocol):
    """A connection, and the answer that is coming over it."""

    def __init__(self, idle: deque[Connection]) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}  # by their names in small letters
        self.idle_since = 0.0
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: Any = None  # uvloop's are none of asyncio's classes
        self._waiter: asyncio.Future[None] | None = None
        self._take: Callable[[bytes], bool] | None = None  # what comes is given to it, until it says no
        self._broke: Exception | None = None  # in taking, until whoever waits has heard of it
        self._lost: OSError | None = None
        self._pieces: list[bytes] = []
        self._unread = 0
        self._paused = False
        self._head_bytes = 0
        self._inflate: Any = None
        self._bounded = False  # the head tells where the body ends; else it ends with the connection
        self._busy = False  # between a request and the end of its answer
        self._reusable = False  # the server keeps the connection open after this answer

    # What the caller does.

    @property
    def usable(self) -> bool:
        return self._lost is None

    async def ask(self, request: bytes) -> None:
        """Send a request and wait for its answer's head.

        Raises:
            OSError: the connection ended before, or what came is no HTTP.
        """
        self.status = self._head_bytes = 0
        self.headers = {}
        self._inflate = self._broke = None
        self._bounded = self._reusable = False
        self._busy = True
        self._transport.write(request)
        while not self.status:
            if self._lost is not None:
                raise self._lost
            await self._wait()

    @property
    def ended(self) -> bool:
        """Whether the whole body has been given out."""
        return not self._busy and not self._pieces

    async def piece(self) -> bytes:
        """What has come of the body since the last piece; empty at its end.

        Raises:
            OSError: the connection ended before the answer.
        """
        pieces = self._pieces
        while not pieces:
            if not self._busy:
                return b""
            if self._lost is not None:
                raise self._lost
            await self._wait()
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._unread = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return piece

    async def give(self, take: Callable[[bytes], bool]) -> None:
        """Wait, and have `take` take each piece as it comes, until it answers that it takes no more: a task that waits
        for pieces would be woken for each. What is there already, and the end, are left to `piece`.

        Raises whatever `take` raises.
        """
        self._take = take
        try:
            while self._take is not None and self._busy and not self._pieces and self._lost is None:
                await self._wait()
        finally:
            self._take = None
        if self._broke is not None:
            broke, self._broke = self._broke, None
            raise broke

    async def read(self) -> bytes:
        """The whole body, or what is left of it. Raises what `piece` raises."""
        whole = await self.piece()
        while not self.ended:
            whole += await self.piece()
        return whole

    def let_go(self) -> None:
        """Keep the connection for another request if its answer has ended, else close it."""
        if self._pieces or self._lost is not None or not self._reusable:
            self.close()
            return
        self.idle_since = now = self._loop.time()
        self._idle.append(self)
        while now - self._idle[0].idle_since > KEPT_S:
            self._idle.popleft().close()

    def close(self) -> None:
        self._lost = self._lost or ConnectionAbortedError("closed")
        self._pieces.clear()
        self._transport.abort()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self._give_up(ConnectionError("words that nobody asked for"))
            return
        if not self.status:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, zlib.error) as error:
            self._give_up(ConnectionError(f"not HTTP: {error}"))
        if not self.status and self._head_bytes > _LONGEST_HEAD:
            self._give_up(ConnectionError("the answer's head has no end"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._busy and self.status and not self._bounded and exc is None:
            self._busy = False
        self._give_up(ConnectionResetError(str(exc or "the server closed the connection")))

    def _give_up(self, why: OSError) -> None:
        self._lost = self._lost or why
        self._transport.abort()
        self._wake()

    # What the parser calls.

    def on_message_begin(self) -> None:
        if not self._busy:
            raise ConnectionError("words that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        known = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        self.headers[known] = text
        if known in ("content-length", "transfer-encoding"):
            self._bounded = True
        elif known == "content-encoding" and text.strip().lower() in ("gzip", "x-gzip", "deflate"):
            self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # either form, told apart by its beginning

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # only a sign of life; the answer follows
            self.headers = {}
            return
        self.status = status
        self._wake()

    def on_body(self, body: bytes) -> None:
        if self._inflate is not None:
            body = self._inflate.decompress(body)
        if self._take is not None and self._waiter is not None and not self._waiter.done():
            self._given(self._take, body)
            return
        self._pieces.append(body)
        self._unread += len(body)
        if self._unread > _MOST_UNREAD and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def _given(self, take: Callable[[bytes], bool], body: bytes) -> None:
        try:
            more = take(body)
        except Exception as error:  # noqa: BLE001  # the parser is no place for it: it is for whoever waits
            self._broke = error
            more = False
        if not more:
            self._take = None
            self._wake()

    def on_message_complete(self) -> None:
        if self.status:
            self._busy = False
            self._reusable = self._parser.should_keep_alive()
            self._wake()


class Client:
    """The connections to the server of a URL, as many as there are requests at once. Made outside a loop, used in one.

    headers: what every request says.
    """

    def __init__(self, url: str, connect_s: float, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._host = (parts.hostname or "").encode("idna").decode()
        self._port = parts.port or _PORTS[parts.scheme]
        self._tls = _verified() if parts.scheme == "https" else None
        self._connect_s = connect_s
        self._prefix = quote(parts.path, _PATH)
        self._targets: dict[str, str] = {}  # by path; a provider has few
        named = f"[{self._host}]" if ":" in self._host else self._host
        port = "" if parts.port in (None, _PORTS[parts.scheme]) else f":{parts.port}"
        self._common = "".join(f"{name}: {value}\r\n" for name, value in {"Host": named + port, **headers}.items())
        self._idle: deque[Connection] = deque()

    async def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Connection:
        """The answer, with its body still to come; whoever has read it lets it go.

        Raises:
            SlowToConnect: no connection within `connect_s`.
            OSError: no connection, or it ended before the answer began, or what came is no HTTP.
        """
        own = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        target = self._targets.get(path)
        if target is None:
            target = self._targets[path] = self._prefix + quote(path, _PATH)
        head = f"{method} {target} HTTP/1.1\r\n{self._common}{own}Content-Length: {len(body)}\r\n\r\n"
        connection = self._kept() or await self._connect()
        try:
            await connection.ask(head.encode() + body)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> Connection | None:
        """The connection that was used last, if any is still good."""
        youngest = asyncio.get_running_loop().time() - KEPT_S
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.idle_since >= youngest:
                return connection
            connection.close()
        return None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_s):
                addresses = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                connected = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S)
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _, connection = await loop.create_connection(
                    lambda: Connection(self._idle),
                    sock=connected,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls else None,
                )
        except TimeoutError as error:
            raise SlowToConnect(f"no connection within {self._connect_s:g} s") from error
        return connection


def _verified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
