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
    descriptor = client.fileno()
    readable = loop.io(descriptor, 1)
    timer = loop.timer(AFTER_S)

    def look() -> None:
        try:
            seen = client._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)  # gevent's own recv would wait
        except BlockingIOError:
            return
        except OSError:
            seen = b""
        readable.stop()
        if seen:
            timer.start(start)  # a pipelined request: readable for as long as it lies there
        else:
            gone()

    def start() -> None:
        timer.stop()
        readable.start(look)

    timer.start(start)
    try:
        yield
    finally:
        readable.stop()
        readable.close()
        timer.stop()
        timer.close()
