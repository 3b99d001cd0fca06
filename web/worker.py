"""gunicorn's gevent worker, taught to send nobody away who can still be answered."""

from __future__ import annotations

import time
from typing import Any

import gevent
from gunicorn.workers.ggevent import GeventWorker

_LAST_WORDS_S = 5.0  # of the grace, kept for telling those who still wait


class DoorWorker(GeventWorker):
    """On SIGTERM: sockets are closed with 1001, running requests end, the last are told that their jobs go on.

    gunicorn alone would wait for idle kept-alive connections until its grace is over.
    """

    active = 0  # requests being answered

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        self.active += 1
        try:
            return super().handle_request(listener_name, req, sock, addr)
        finally:
            self.active -= 1

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
