"""What comes back from the workers: one reply channel and one reader for a whole web process.

The reader hands each entry to whoever follows its job. A follower checks the numbers: on a gap, after a reconnect, or
after 5 s of silence it reads the job's log and status, so a channel that loses entries delays an answer but never
loses it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

import gevent
import hiredis
import structlog
from gevent.event import Event as Flag

from mesh import errors, events, store, wire
from mesh.events import Event, Kind
from mesh.job import Status, ending
from mesh.seal import JobSeal
from mesh.wire import Refused
from web.pipe import Connection, Pipe
from web.restoring import UNMASKED, Masked

log = structlog.get_logger()

BEAT_S = 5.0
SILENCE_S = 5.0  # after this a follower looks for itself
_RETRY_S = 0.2
_LEAVE_S = 1.0

TICK_S = 0.5  # how exactly a follower keeps its times; one greenlet for all costs less than a timer for each
_HEAL, _HUNG_UP, _STOPPING, _TICK, _LEFT = -1, -2, -3, -4, -5  # numbers that no event has


# number; of an end the length of its sealed head, otherwise None; what is sealed
_Entry = tuple[int, int | None, bytes]


class HungUp(Exception):
    """The client has gone."""


class Replies:
    """The process's reply channel."""

    def __init__(self, address: wire.Address, pipe: Pipe) -> None:
        self.boot = f"web-{secrets.token_hex(8)}"
        self._address = address
        self._pipe = pipe
        self._followers: dict[bytes, list[Follower]] = {}
        self._greenlets: list[Any] = []

    def start(self) -> None:
        self._greenlets = [gevent.spawn(self._read), gevent.spawn(self._beat), gevent.spawn(self._tick)]

    def stop(self) -> None:
        """Tell everybody who still waits that this process ends, and give up the channel."""
        for followers in list(self._followers.values()):
            for follower in list(followers):
                follower.stopping()
        gevent.killall(self._greenlets)
        # With Redis away nobody hears it; the beat ends by itself.
        leaving = gevent.spawn(self._pipe.do, store.door_leave(self.boot))
        leaving.join(timeout=_LEAVE_S)
        leaving.kill()

    def join(self, follower: Follower) -> None:
        self._followers.setdefault(follower.job_id.encode(), []).append(follower)

    def leave(self, follower: Follower) -> None:
        key = follower.job_id.encode()
        followers = self._followers.get(key, [])
        if follower in followers:
            followers.remove(follower)
        if not followers:
            self._followers.pop(key, None)

    @property
    def waiting(self) -> int:
        return len(self._followers)

    def _beat(self) -> None:
        while True:
            self._say_beat()
            gevent.sleep(BEAT_S)

    def _say_beat(self) -> None:
        try:
            self._pipe.do(store.door_beat(self.boot))
        except (errors.StoreUnavailable, Refused) as error:
            log.warning("beat_not_heard", why=str(error))

    def _read(self) -> None:
        while True:
            try:
                connection = Connection(self._address, f"{self.boot}-replies")
                try:
                    connection.socket.settimeout(store.BLOCK_S * 2)
                    # Redis may have lost our beat, and the channel entries: everybody looks for himself once.
                    gevent.spawn(self._say_beat)
                    self._heal()
                    while True:
                        reply = connection.ask(store.replies(self.boot))
                        if isinstance(reply, hiredis.ReplyError):
                            raise ConnectionError(str(reply))
                        if reply is not None:
                            self._hand_out(reply[1])
                            gevent.sleep(0)  # who was given something goes first
                finally:
                    connection.close()
            except (OSError, hiredis.HiredisError) as error:
                log.warning("reply_channel_lost", why=str(error))
                gevent.sleep(_RETRY_S)

    def _tick(self) -> None:
        while True:
            gevent.sleep(TICK_S)
            now = time.monotonic()
            for followers in list(self._followers.values()):
                for follower in followers:
                    follower.tick(now)

    def _hand_out(self, entries: list[bytes]) -> None:
        for entry in entries:
            job_id, _, rest = entry.partition(b" ")
            number, _, sealed = rest.partition(b" ")
            for follower in self._followers.get(job_id, ()):
                try:
                    follower.put(number, sealed)
                except ValueError:  # a newer worker's way to write: what it says stands in the log as well
                    follower.heal_soon()

    def _heal(self) -> None:
        for followers in self._followers.values():
            for follower in followers:
                follower.heal_soon()


class Follower:
    """One caller's view of one job: its events in order, each once, from a number on."""

    def __init__(
        self, replies: Replies, pipe: Pipe, seal: JobSeal, job_id: str, tenant: str, after: int = 0,
        masked: Masked = UNMASKED,
    ) -> None:  # fmt: skip
        self.job_id = job_id
        self.tenant = tenant
        self.cursor = after  # the number of the last event that was given out
        self._replies = replies
        self._pipe = pipe
        self.seal = seal
        self.masked = masked  # what goes back into each event
        # Lists and a flag: a queue and a deque would be 3 KB more of each of thousands that wait.
        self._came: list[_Entry] = []
        self._more = Flag()
        self._ready: list[tuple[int, Event]] = []
        self._listening = False  # somebody waits in `next` or `batch`
        self._patience_s = 0.0
        self._until = 0.0  # when he gives up
        # Given the next events while `batch` waits for them, which then goes on waiting; whether it may. What it raises
        # leaves the events to `batch`.
        self.past: Callable[[Sequence[tuple[int, Event]]], bool] | None = None
        self._heard = 0.0  # when something came last

    def __enter__(self) -> Follower:
        self._replies.join(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._replies.leave(self)

    def put(self, number: bytes, sealed: bytes) -> None:
        head, mark, length = number.partition(b"!")
        if mark or not self._went_past(int(head), sealed):
            self._put((int(head), int(length) if mark else None, sealed))

    def _went_past(self, number: int, sealed: bytes) -> bool:
        if self.past is None or self._came or not self._listening:
            return False
        try:
            if number <= self.cursor or not self._taken(number, None, sealed):
                return False
            went = self.past(self._ready)
        except Exception:  # noqa: BLE001  # whoever waits takes what is ready and what follows, and meets it himself
            return False
        self._ready = []
        self._hear()
        if not went:
            self._put((_LEFT, None, b""))
        return True

    def _hear(self) -> None:
        self._heard = now = time.monotonic()
        self._until = now + self._patience_s

    def tick(self, now: float) -> None:
        if self._listening and (now >= self._until or now - self._heard >= SILENCE_S):
            self._put((_TICK, None, b""))

    def heal_soon(self) -> None:
        self._put((_HEAL, None, b""))

    def hang_up(self) -> None:
        self._put((_HUNG_UP, None, b""))

    def stopping(self) -> None:
        self._put((_STOPPING, None, b""))

    def _put(self, entry: _Entry) -> None:
        self._came.append(entry)
        self._more.set()

    def _get(self) -> _Entry:
        if not self._came:
            self._more.clear()
            self._listening = True
            self._more.wait()
            self._listening = False
        return self._came.pop(0)

    def next(self, timeout_s: float) -> tuple[int, Event] | None:
        """The next event with its number; None when none came in that time. Raises what `batch` raises."""
        if not self._ready:
            self._wait(timeout_s)
        return self._ready.pop(0) if self._ready else None

    def batch(self, timeout_s: float) -> Sequence[tuple[int, Event]]:
        """All events that have come, at least the next, with their numbers; none when none came in that time, or when
        `past` had to leave something to whoever calls this.

        Raises:
            HungUp: the client has gone.
            Stopping: this process ends; the job goes on.
            NotFound: the job, or the part of its log that comes next, is no longer kept.
            StoreUnavailable: nothing was heard, and Redis cannot be asked.
        """
        if not self._ready:
            self._wait(timeout_s)
        ready, self._ready = self._ready, []
        return ready

    def _wait(self, timeout_s: float) -> None:
        self._patience_s = timeout_s
        self._hear()
        while self._came or not self._ready:
            entry = number, _, sealed = self._get()
            if sealed and number > self.cursor and self._taken(*entry):
                continue
            if self._ready and not 0 <= number <= self.cursor:
                self._put(entry)  # it may fail, and what came before it shall be given out first
                return
            if number == _TICK:
                now = time.monotonic()
                if now - self._heard >= SILENCE_S:
                    self._heard = now
                    self._heal()
                if not self._ready and now >= self._until:
                    return
            elif number > self.cursor or number == _HEAL:
                self._heal()
            elif number == _LEFT:
                return
            elif number == _HUNG_UP:
                raise HungUp
            elif number == _STOPPING:
                raise errors.Stopping("This process of the gateway is shutting down; the job goes on.", retry_after_s=1)

    def end(self, timeout_s: float) -> Event | None:
        """The job's end, however many events come before it; None when it has not ended in that time."""
        until = time.monotonic() + timeout_s
        while (left := until - time.monotonic()) > 0:
            found = self.next(left)
            if found is not None and found[1].kind is Kind.END:
                return found[1]
        return None

    def _taken(self, number: int, end_length: int | None, sealed: bytes) -> bool:
        """Take what comes next of a record, or of the end; whether it does."""
        if end_length is None:
            found = events.load(self.seal.open(f"event:{number}", sealed))
        elif number == self.cursor + 1:
            found = [open_end(self.seal, sealed[:end_length], sealed[end_length:])]
        else:
            return False
        at = number - len(found)
        if at > self.cursor:
            return False
        for event in found:
            at += 1
            if at > self.cursor:
                self._take(at, event)
        return True

    def _take(self, number: int, event: Event) -> None:
        self._ready.append((number, self.masked.restored(event) if self.masked else event))
        self.cursor = number

    def _heal(self) -> None:
        """Take what is missing from the job's log, and its end from its status."""
        status = self._pipe.do(store.status(self.job_id, self.tenant, result=True))
        if status is None:
            raise errors.NotFound(f"No job '{self.job_id}' is kept any more.", code="job_not_found")
        while self.cursor < status.seq:
            page = self._pipe.do(store.events(self.job_id, self.cursor))
            for number, sealed in page:
                if not self._taken(number, None, sealed):
                    raise errors.NotFound(
                        f"The events after {self.cursor} are no longer kept; the next end with {number}.",
                        code="events_gone",
                    )
            if not page:
                break
        if status.state.ended and self.cursor < status.seq:
            if self.cursor < status.seq - 1:
                raise errors.NotFound(f"The events after {self.cursor} are no longer kept.", code="events_gone")
            self._take(status.seq, end_of(status, self.seal))


def end_of(status: Status, seal: JobSeal) -> Event:
    """The end event of an ended job, also of one that ended without a worker's word.

    Its body is the answer of a blocking request, where the status was read with the result.
    """
    if status.end:
        return open_end(seal, status.end, b"" if status.spec.stream else status.result)
    error = ending(status.reason)
    head = {
        "state": status.state.value,
        "provider": status.provider,
        "model": status.model,
        "attempts": status.attempt,
        "usage": None,
        "cost_usd": None,
        "error": errors.dump(error),
    }
    return Event(Kind.END, head)


def open_end(seal: JobSeal, end: bytes, result: bytes) -> Event:
    """An end event from its sealed head and the sealed answer, or no answer."""
    (event,) = events.load(seal.open("end", end))
    return Event(event.kind, event.head, seal.open("result", result)) if result else event


def result_of(status: Status, seal: JobSeal) -> bytes:
    """The whole answer of an ended job as JSON, or nothing."""
    return seal.open("result", status.result) if status.result else b""
