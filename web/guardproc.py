"""The door's end of a guard process: a bounded queue, a deadline, and a new process where one dies or does not end.

A text is judged in it when judging it here would hold up every other request: Python code holds the interpreter's
lock, whichever greenlet or thread it runs in.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import gevent
import orjson
import structlog
from gevent import socket, subprocess
from gevent.event import AsyncResult, Event

from guardrails.serving import LENGTH_BYTES, dump_texts, frame
from guardrails.texts import Text
from guardrails.verdicts import Stage
from mesh.settings import HERE, GuardLimits
from web import metrics

log = structlog.get_logger()

_MOST_TRIES = 2  # of one question, where the process dies over it
_PAUSES_S = (0.05, 0.2, 1.0, 5.0)  # before a new process, by how many died soon before
_SOON_S = 10.0


class GuardFailed(Exception):
    """No judgement: too many wait, the deadline passed, or the process broke at the text."""


class _Question:
    __slots__ = ("answer", "frame", "number", "sent", "tries")

    def __init__(self, number: int, framed: bytes) -> None:
        self.number = number
        self.frame = framed
        self.answer: AsyncResult = AsyncResult()
        self.sent = 0.0  # when; 0: not yet
        self.tries = 0


class GuardProcess:
    """
    policy: gives the text of the policy in force.
    """

    def __init__(self, policy: Callable[[], str], limits: GuardLimits) -> None:
        self._policy = policy
        self._limits = limits
        self._asked: dict[int, _Question] = {}  # in the order in which they came
        self._number = 0
        self._more = Event()
        self._told = ""  # the policy that the process has
        self._child: Any = None

    def start(self) -> None:
        gevent.spawn(self._keep)

    @property
    def waiting(self) -> int:
        return len(self._asked)

    @property
    def pid(self) -> int:
        """Of the process; 0 while there is none."""
        return self._child.pid if self._child is not None else 0

    def renew(self) -> None:
        """Tell the policy anew."""
        self._more.set()

    def ask(self, kind: str, stage: Stage, tenant: str, key: str, texts: Sequence[Text], *, within_ms: int = 0) -> Any:
        """The answer to one of the questions of guardrails/serving.py.

        within_ms: after this time it is done without; else after the deadline, and then the process counts as stuck.

        Raises:
            GuardFailed: there is none.
        """
        if len(self._asked) >= self._limits.max_waiting:
            raise GuardFailed("queue_full")
        self._number += 1
        question = _Question(self._number, frame([self._number, kind, stage, tenant, key, dump_texts(texts)]))
        self._asked[question.number] = question
        self._more.set()
        try:
            heard: dict[str, Any] = question.answer.get(timeout=(within_ms or self._limits.deadline_ms) / 1000)
        except gevent.Timeout:
            in_hand = question.sent and next(iter(self._asked)) == question.number
            if in_hand and not within_ms and self._child is not None:
                self._child.kill()  # others wait behind it
            raise GuardFailed("deadline") from None
        finally:
            self._asked.pop(question.number, None)
        if "answer" not in heard:
            raise GuardFailed(heard["error"])
        return heard["answer"]

    def _keep(self) -> None:
        deaths = 0
        while True:
            began = time.monotonic()
            ours, its = socket.socketpair()
            self._child = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "guardrails.serving",
                    *map(str, (its.fileno(), os.getpid(), self._limits.sentence_ms)),
                ],
                cwd=HERE,
                env={"OMP_NUM_THREADS": "1"},  # no secret of ours is any of its business
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
            )
            its.close()
            self._told = ""
            for question in list(self._asked.values()):
                question.sent = 0.0
                if question.tries >= _MOST_TRIES:
                    question.answer.set({"error": "process_died"})
            writer = gevent.spawn(self._write, ours)
            try:
                self._read(ours)
            except OSError as error:
                log.debug("guard_process_unread", why=str(error))
            writer.kill()
            ours.close()
            self._child.kill()
            code = self._child.wait()
            metrics.guard_process_ended()
            log.warning("guard_process_ended", code=code, waiting=len(self._asked))
            deaths = deaths + 1 if time.monotonic() - began < _SOON_S else 0
            gevent.sleep(_PAUSES_S[min(deaths, len(_PAUSES_S) - 1)])

    def _write(self, connection: socket.socket) -> None:
        while True:
            self._more.clear()
            try:
                if self._told != (policy := self._policy()):
                    connection.sendall(frame(policy))
                    self._told = policy
                for question in list(self._asked.values()):
                    if not question.sent and question.number in self._asked:
                        question.sent = time.monotonic()
                        question.tries += 1
                        connection.sendall(question.frame)
            except OSError:
                return  # the reader notices
            self._more.wait()

    def _read(self, connection: socket.socket) -> None:
        buffer = bytearray()
        while data := connection.recv(1 << 16):
            buffer += data
            while len(buffer) >= LENGTH_BYTES:
                end = LENGTH_BYTES + int.from_bytes(buffer[:LENGTH_BYTES], "big")
                if len(buffer) < end:
                    break
                heard = orjson.loads(bytes(buffer[LENGTH_BYTES:end]))
                del buffer[:end]
                question = self._asked.get(heard["number"])
                if question is not None:
                    question.answer.set(heard)
