"""One connection to Redis for a whole worker process, shared by all of its jobs.

Commands of one turn of the event loop leave in one write; replies are matched in order. When the connection breaks,
what is unanswered is sent again over the next one: every call of ours may be sent twice. A worker waits for Redis
without end; it is the leases that bound its patience.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import deque
from typing import Any, TypeVar

import hiredis
import structlog

from mesh import store, wire
from mesh.wire import RETRY_S, STALL_S, Refused

T = TypeVar("T")
log = structlog.get_logger()


async def open_streams(address: wire.Address, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that has said its first words but loaded no scripts, for a blocking read of its own."""
    async with asyncio.timeout(STALL_S):
        address = await located(address)
        tls = ssl.create_default_context() if address.tls else None
        if address.path:
            reader, writer = await asyncio.open_unix_connection(address.path)
        else:
            reader, writer = await asyncio.open_connection(address.host, address.port, ssl=tls)
        parser = hiredis.Reader()
        try:
            for args in address.greeting(name):
                await ask(reader, writer, parser, args)
        except BaseException:
            writer.close()
            raise
        return reader, writer


async def located(address: wire.Address) -> wire.Address:
    """The address with host and port; where Sentinels know them, they are asked in a thread."""
    return await asyncio.to_thread(address.now) if address.sentinels else address


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, parser: hiredis.Reader, args: tuple[wire.Arg, ...]
) -> Any:
    """One command and its reply.

    Raises:
        OSError: the connection is gone, or Redis refused.
    """
    writer.write(wire.pack(args))
    while (reply := parser.gets()) is False:
        data = await reader.read(65536)
        if not data:
            raise ConnectionError("Redis closed the connection")
        parser.feed(data)
    if isinstance(reply, hiredis.ReplyError):
        raise ConnectionError(str(reply))
    return reply


class _Owed:
    __slots__ = ("args", "reply", "since")

    def __init__(self, args: tuple[wire.Arg, ...], reply: asyncio.Future[Any], since: float) -> None:
        self.args = args
        self.reply = reply
        self.since = since


class _Line(asyncio.Protocol):
    """Bytes in, replies out, to the pipe that owns it."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._parser = hiredis.Reader()
        self.transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)
        try:
            while (reply := self._parser.gets()) is not False:
                self._pipe.replied(reply)
        except (ConnectionError, hiredis.HiredisError) as error:
            self.give_up(str(error))

    def connection_lost(self, error: Exception | None) -> None:
        self.give_up(str(error or "Redis closed the connection"))

    def give_up(self, why: str) -> None:
        if self.transport is not None:
            self.transport.abort()
        if not self.lost.done():
            self.lost.set_exception(ConnectionError(why))


class Pipe:
    """The shared connection; `run` keeps it up.

    resends: what is unanswered when the connection breaks is sent again over the next one, else it fails.
    """

    def __init__(self, address: wire.Address, name: str, *, resends: bool = True) -> None:
        self._address = address
        self._name = name
        self._resends = resends
        self._unsent: list[_Owed] = []
        self._owed: deque[_Owed] = deque()
        self._line: _Line | None = None
        self._flushing = False

    async def do(self, call: store.Call[T]) -> T:
        """Say it and wait for the answer, however long Redis is away.

        Raises:
            Refused: Redis would not do it.
            ConnectionError: the connection broke; only from a pipe that does not send again.
        """
        return call.read(await self.say(call.args))

    def say(self, args: tuple[wire.Arg, ...]) -> asyncio.Future[Any]:
        """The reply to come, as it stands on the wire; it fails as `do` does."""
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        self._unsent.append(_Owed(args, reply, loop.time()))
        if not self._flushing and self._line is not None:
            self._flushing = True
            loop.call_soon(self._flush)
        return reply

    def _flush(self) -> None:
        self._flushing = False
        if self._line is None or self._line.transport is None:
            return
        leaving, self._unsent = self._unsent, []
        self._owed.extend(leaving)
        self._line.transport.write(b"".join([wire.pack(owed.args) for owed in leaving]))

    def replied(self, reply: Any) -> None:
        """Hand the next reply to whoever waits for it."""
        if isinstance(reply, hiredis.ReplyError):
            if wire.not_now(reply):
                raise ConnectionError(str(reply))
            owed = self._owed.popleft()
            if str(reply).startswith("NOSCRIPT"):
                owed.args = store.in_full(owed.args)
                self._unsent.insert(0, owed)
                self._flush()
            elif not owed.reply.done():
                owed.reply.set_exception(Refused(str(reply)))
            return
        owed = self._owed.popleft()
        if not owed.reply.done():
            owed.reply.set_result(reply)

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._once()
            except (OSError, hiredis.HiredisError, TimeoutError) as error:
                if not failures:  # once an outage
                    log.warning("redis_connection_lost", why=str(error), unanswered=len(self._owed) + len(self._unsent))
            finally:
                self._line = None
            if not self._resends:
                self._fail_owed()
            failures = failures + 1 if time.monotonic() - began < 1.0 else 0
            await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])

    def _fail_owed(self) -> None:
        for owed in self._owed:
            if not owed.reply.done():
                owed.reply.set_exception(ConnectionError("the connection to Redis broke"))
        self._owed.clear()

    async def _once(self) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(STALL_S):
            address = await located(self._address)
            tls = ssl.create_default_context() if address.tls else None
            if address.path:
                _, line = await loop.create_unix_connection(lambda: _Line(self), address.path)
            else:
                _, line = await loop.create_connection(lambda: _Line(self), address.host, address.port, ssl=tls)
        # The first words take places in the order of replies like everything else; what was unanswered follows them.
        greeting = [
            _Owed(args, loop.create_future(), loop.time()) for args in (*address.greeting(self._name), *store.loading())
        ]
        self._unsent = [*greeting, *self._owed, *self._unsent]
        self._owed.clear()
        for owed in self._unsent:
            owed.since = loop.time()
        self._line = line
        self._flush()
        try:
            await asyncio.gather(*(owed.reply for owed in greeting), self._watch(line))
        except Refused as error:
            raise ConnectionError(str(error)) from error
        finally:
            line.give_up("given up")
            with contextlib.suppress(ConnectionError):
                await line.lost
            self._owed = deque(owed for owed in self._owed if owed not in greeting)

    async def _watch(self, line: _Line) -> None:
        loop = asyncio.get_running_loop()
        while not line.lost.done():
            await asyncio.wait([line.lost], timeout=1.0)
            if self._owed and loop.time() - self._owed[0].since > STALL_S:
                line.give_up("no reply")
        line.lost.result()
