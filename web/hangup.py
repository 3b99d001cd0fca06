"""Notices within a second that a client has gone, also while its request is blocked and nothing is written to it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from gevent import get_hub

# An answer that comes sooner needs no watch, and most answers of a fast provider never pay for one.
AFTER_S = 0.4


class Watch:
    """Calls `gone` once when the client of this request closes its side, after the body has been read.

    It costs an event of the loop, not a greenlet. Under a server whose socket is not known it does nothing.
    """

    __slots__ = ("_client", "_gone", "_readable", "_timer")

    def __init__(self, environ: dict[str, Any], gone: Callable[[], None]) -> None:
        self._client: Any = environ.get("gunicorn.socket")
        self._gone = gone
        self._readable: Any = None  # made when it is needed
        self._timer: Any = None
        if self._client is not None:
            self._timer = get_hub().loop.timer(AFTER_S)
            self._timer.start(self._start)

    def stop(self) -> None:
        self._stop_reading()
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _start(self) -> None:
        self._timer.stop()
        if self._client.fileno() >= 0:
            self._readable = get_hub().loop.io(self._client.fileno(), 1)
            self._readable.start(self._look)

    def _stop_reading(self) -> None:
        if self._readable is not None:
            self._readable.stop()
            self._readable.close()
            self._readable = None

    def _look(self) -> None:
        try:
            # gevent's own recv would wait; this runs in the loop itself.
            seen = self._client._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            seen = b""
        self._stop_reading()
        if seen:
            self._timer.start(self._start)  # a pipelined request: readable for as long as it lies there
        else:
            self._gone()
