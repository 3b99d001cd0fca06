"""A client's socket: what is pushed to one that does not read waits, and leaves before whatever is sent next."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import gevent
import pytest

from web.worker import ClientSocket

PARTS = [b"%08d" % number * 4096 for number in range(64)]  # 32 KB each, more than any buffer in all


@pytest.fixture
def ends() -> Iterator[tuple[ClientSocket, socket.socket]]:
    left, right = socket.socketpair()
    sock = ClientSocket(left.family, left.type, left.proto, left.detach())
    with sock, right, gevent.Timeout(30):
        yield sock, right


def _read(reader: socket.socket, size: int) -> bytes:
    reader.setblocking(False)
    data = b""
    while len(data) < size:
        try:
            data += reader.recv(65536)
        except BlockingIOError:
            gevent.sleep(0.001)
    return data


def test_what_is_pushed_leaves_at_once(ends: tuple[ClientSocket, socket.socket]) -> None:
    sock, reader = ends
    assert sock.push(b"one") and sock.push(b"two")
    assert reader.recv(100) == b"onetwo"


def test_who_does_not_read_gets_all_in_order_later(ends: tuple[ClientSocket, socket.socket]) -> None:
    sock, reader = ends
    pushed = [sock.push(part) for part in PARTS]
    assert pushed[0] and not pushed[-1]

    sending = gevent.spawn(sock.sendall, b"end")
    assert _read(reader, sum(map(len, PARTS)) + 3) == b"".join(PARTS) + b"end"
    sending.get()
    assert sock.push(b"again") and reader.recv(100) == b"again"


def test_a_head_that_waits_for_its_body_leaves_with_what_is_pushed(ends: tuple[ClientSocket, socket.socket]) -> None:
    sock, reader = ends
    sock.holds_heads = True
    sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    assert sock.push(b"body")
    assert reader.recv(100) == b"HTTP/1.1 200 OK\r\n\r\nbody"


def test_a_client_that_has_gone_is_met_by_the_next_who_sends(ends: tuple[ClientSocket, socket.socket]) -> None:
    sock, reader = ends
    reader.close()
    assert not sock.push(b"one") and not sock.push(b"two")
    with pytest.raises(BrokenPipeError):
        sock.sendall(b"three")
