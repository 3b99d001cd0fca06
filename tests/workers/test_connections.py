"""Answers of HTTP/1.1 servers of every manner, over connections that are kept."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
from collections.abc import AsyncIterator

import pytest
import uvloop

from workers.transports.connections import Client, Connection, SlowToConnect

OK = b"HTTP/1.1 200 OK\r\n"


class Server:
    """Says the same to every request, and counts its connections."""

    def __init__(self, answer: bytes, *, hangs_up: bool = False) -> None:
        self.answer = answer
        self.hangs_up = hangs_up
        self.connections = 0
        self.heads: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answer)
                if self.hangs_up:
                    break
        writer.close()


@contextlib.asynccontextmanager
async def _opened(server: Server, path: str = "") -> AsyncIterator[Client]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    client = Client(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}{path}", 5, {"Accept": "*/*"})
    try:
        yield client
    finally:
        client.close()
        listening.close()


async def _read(client: Client) -> bytes:
    connection = await client.ask("GET", "/models?limit=2", {}, b"")
    try:
        return await connection.read()
    finally:
        connection.let_go()


@pytest.mark.parametrize(
    ("answer", "hangs_up"),
    [
        pytest.param(OK + b"Content-Length: 5\r\n\r\nwhole", False, id="a length"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nwh\r\n3\r\nole\r\n0\r\n\r\n", False, id="chunks"),
        pytest.param(OK + b"\r\nwhole", True, id="as long as the connection"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nwhole", True, id="HTTP/1.0"),
        pytest.param(
            b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nwhole", False, id="hints"
        ),
        pytest.param(
            OK
            + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
            % (len(gzip.compress(b"whole")), gzip.compress(b"whole")),
            False,
            id="gzip, unasked",
        ),
        pytest.param(OK + b"Content-Length: 5\r\n\r\nwholeand more", False, id="more than it said"),
        pytest.param(OK + b"Content-Length: 5\r\nConnection: close\r\n\r\nwhole", True, id="the last one"),
    ],
)
def test_a_body_is_read_as_its_head_says(answer: bytes, hangs_up: bool) -> None:
    async def main() -> list[bytes]:
        async with _opened(Server(answer, hangs_up=hangs_up)) as client:
            return [await _read(client), await _read(client)]

    assert uvloop.run(main()) == [b"whole", b"whole"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OK + b"Content-Length: 50\r\n\r\nonly this", id="less than it said"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n", id="no last chunk"),
        pytest.param(OK + b"Content-Length: 5\r\nContent-Encoding: gzip\r\n\r\nwhole", id="no gzip"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="no HTTP"),
        pytest.param(OK + b"X-Long: " + b"x" * 300_000, id="an endless head"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_broken_answer_is_an_error(answer: bytes) -> None:
    async def main() -> None:
        async with _opened(Server(answer, hangs_up=True)) as client:
            with pytest.raises(ConnectionError):
                await _read(client)

    uvloop.run(main())


def test_a_connection_is_used_again_once_its_answer_was_read() -> None:
    async def main() -> tuple[int, int]:
        server = Server(OK + b"Content-Length: 5\r\n\r\nwhole")
        async with _opened(server) as client:
            for _ in range(5):
                await _read(client)
            one_by_one = server.connections
            await asyncio.gather(*(_read(client) for _ in range(5)))
            return one_by_one, server.connections

    assert uvloop.run(main()) == (1, 5)


def test_one_that_was_left_early_is_closed() -> None:
    async def main() -> int:
        server = Server(OK + b"Content-Length: 50\r\n\r\nnot yet all")
        async with _opened(server) as client:
            for _ in range(3):
                connection = await client.ask("GET", "/", {}, b"")
                await connection.piece()
                connection.let_go()
        return server.connections

    assert uvloop.run(main()) == 3


def test_a_request_is_written_as_the_url_and_the_headers_say() -> None:
    async def main() -> bytes:
        server = Server(OK + b"Content-Length: 0\r\n\r\n")
        async with _opened(server, "/a b/v1") as client:
            connection = await client.ask("GET", "/models?limit=2", {"X-Key": "secret"}, b"")
            connection.let_go()
        return server.heads[0]

    head = uvloop.run(main()).split(b"\r\n")
    assert head[0] == b"GET /a%20b/v1/models?limit=2 HTTP/1.1"
    assert head[1].startswith(b"Host: 127.0.0.1:")
    assert head[2:] == [b"Accept: */*", b"X-Key: secret", b"Content-Length: 0", b"", b""]


def test_a_server_that_accepts_nobody_is_slow_to_connect() -> None:
    async def main(port: int) -> None:
        client = Client(f"http://127.0.0.1:{port}", 0.1, {})
        with pytest.raises(SlowToConnect):
            await client.ask("GET", "/", {}, b"")

    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # whoever comes next is not answered
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        uvloop.run(main(full.getsockname()[1]))


PIECES = [b"one ", b"two ", b"three ", b"four"]


@contextlib.asynccontextmanager
async def _said_in_pieces(*pieces: bytes, cut: bool = False) -> AsyncIterator[Connection]:
    """The answer's connection; the server says a piece when the client has had its turn."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % (sum(map(len, pieces)) + cut))
        for piece in pieces:
            await asyncio.sleep(0.02)
            writer.write(piece)
        if cut:
            await asyncio.sleep(0.02)
            writer.transport.abort()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = Client(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", 5, {})
    connection = await client.ask("GET", "/", {}, b"")
    try:
        async with asyncio.timeout(5):
            yield connection
    finally:
        connection.let_go()
        client.close()
        listening.close()


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_pieces_are_given_to_who_takes_them_until_he_has_enough(most: int) -> None:
    async def main() -> tuple[list[bytes], bytes]:
        taken: list[bytes] = []
        async with _said_in_pieces(*PIECES) as connection:
            await connection.give(lambda piece: not taken.append(piece) and len(taken) < most)
            return taken, await connection.read()

    taken, rest = uvloop.run(main())
    assert len(taken) == min(most, len(PIECES)) and b"".join(taken) + rest == b"".join(PIECES)


def test_what_has_come_before_is_not_given() -> None:
    async def main() -> None:
        async with _said_in_pieces(*PIECES) as connection:
            await asyncio.sleep(0.3)
            await connection.give(pytest.fail)
            assert await connection.piece() == b"".join(PIECES)
            await connection.give(pytest.fail)
            assert connection.ended

    uvloop.run(main())


def test_what_breaks_in_taking_is_raised_to_who_waits() -> None:
    def take(piece: bytes) -> bool:
        raise LookupError(piece)

    async def main() -> bytes:
        async with _said_in_pieces(*PIECES) as connection:
            with pytest.raises(LookupError, match="one"):
                await connection.give(take)
            return await connection.read()

    assert uvloop.run(main()) == b"".join(PIECES[1:])


def test_what_broke_unheard_is_forgotten_with_its_request() -> None:
    server = Server(OK + b"Content-Length: 5\r\n\r\nwhole")

    async def main() -> bytes:
        async with _opened(server) as client:
            for _ in range(2):
                connection = await client.ask("GET", "/", {}, b"")
                assert await connection.read() == b"whole"
                connection._broke = LookupError("of a task that was cancelled before it woke")
                connection.let_go()
            connection = await client.ask("GET", "/", {}, b"")
            await connection.give(pytest.fail)
            return await connection.read()

    assert uvloop.run(main()) == b"whole" and server.connections == 1


def test_who_waits_hears_of_a_cut_from_the_next_piece() -> None:
    async def main() -> None:
        taken: list[bytes] = []
        async with _said_in_pieces(*PIECES, cut=True) as connection:
            await connection.give(lambda piece: not taken.append(piece))
            assert b"".join(taken) == b"".join(PIECES)
            with pytest.raises(ConnectionResetError):
                await connection.piece()

    uvloop.run(main())


def test_nothing_is_given_after_a_cancellation() -> None:
    async def main() -> None:
        taken: list[bytes] = []
        one = asyncio.Event()

        def take(piece: bytes) -> bool:
            taken.append(piece)
            one.set()
            return True

        async with _said_in_pieces(*PIECES) as connection:
            waiting = asyncio.ensure_future(connection.give(take))
            await one.wait()
            waiting.cancel()
            connection.on_body(b"what came before the task has heard of it")
            await asyncio.wait([waiting])
            assert taken == PIECES[:1] and waiting.cancelled()

    uvloop.run(main())
