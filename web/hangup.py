"""Notices within a second that a client has gone, also while its request is blocked and nothing is written to it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

from gevent import get_hub

# An answer that comes sooner needs no watch; most answers of a fast upstream never pay for one.
AFTER_S = 0.4


@contextlib.contextmanager
def watch(environ: dict[str, Any], gone: Callable[[], None]) -> Iterator[None]:
    """Call `gone` once when the client of this request closes its side, after the body has been read."""
    client: Any = environ.get("gunicorn.socket")
    if client is None:
        yield
        return
    loop = get_hub().loop
    timer = loop.timer(AFTER_S)
    readable: Any = None  # made when it is needed: most requests end sooner

    def look() -> None:
        try:
            seen = client._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)  # gevent's own recv would wait
        except BlockingIOError:
            return
        except OSError:
            seen = b""
        stop()
        if seen:
            timer.start(start)  # a pipelined request: readable for as long as it lies there
        else:
            gone()

    def start() -> None:
        nonlocal readable
        timer.stop()
        if client.fileno() >= 0:
            readable = loop.io(client.fileno(), 1)
            readable.start(look)

    def stop() -> None:
        nonlocal readable
        if readable is not None:
            readable.stop()
            readable.close()
            readable = None

    timer.start(start)
    try:
        yield
    finally:
        stop()
        timer.stop()
        timer.close()
