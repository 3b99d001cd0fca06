"""The ways in which an accepted job is answered over HTTP: at once, as a stream, or later."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Iterator
from typing import Any

from mesh import errors, store
from mesh.errors import GatewayError
from mesh.events import Event, Kind
from mesh.job import Spec, new_id
from web import errors as shown
from web import sse
from web.answer import Answer, in_header
from web.auth import Caller
from web.door import Door
from web.hangup import Watch
from web.jobview import queued_view
from web.meter import Meter
from web.replies import Follower, HungUp
from web.requests import Parsed
from web.submit import Accepted, submit

HOLD_S = 10.0  # an SSE answer keeps its status open for the first event for so long
_FOR_EVER_S = 10 * 86_400.0  # a job ends by its own deadline, the wait has none
_PREFER_WAIT = re.compile(r"(?:^|[\s,;])wait\s*=\s*(\d{1,6})(?:$|[\s,;])")


class Listener:
    """A client that waits for a job: it follows the events, and when it hangs up the job is cancelled, unless it is
    to go on.

    Left by `with` it lets go of both, unless it was handed over to a stream that will `close` it.
    """

    def __init__(self, door: Door, follower: Follower, environ: dict[str, Any], *, keep: bool = True) -> None:
        self.follower = follower
        self.keep = keep
        self._door = door
        self._watch = Watch(environ, self._hang_up)
        self._handed_over = False
        door.replies.join(follower)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._handed_over:
            self.close(kind)

    def turn_to(self, follower: Follower) -> None:
        """Follow another job instead."""
        self._door.replies.leave(self.follower)
        self.follower = follower
        self._door.replies.join(follower)

    def hand_over(self) -> Listener:
        self._handed_over = True
        return self

    def close(self, kind: type[BaseException] | None) -> None:
        """
        kind: of the exception that ends the wait, if one does.
        """
        self._watch.stop()
        self._door.replies.leave(self.follower)
        if not self.keep and kind is not None and issubclass(kind, (HungUp, GeneratorExit)):
            self._door.pipe.do(store.cancel(self.follower.job_id, self.follower.tenant, "hangup"))

    def _hang_up(self) -> None:
        self.follower.hang_up()


def answer(door: Door, caller: Caller, parsed: Parsed, environ: dict[str, Any]) -> Answer:
    """Submit and answer as the request asks: `stream`, `Prefer: respond-async`, `Prefer: wait=N`, or blocking."""
    prefer = environ.get("HTTP_PREFER", "")
    key = environ.get("HTTP_IDEMPOTENCY_KEY", "")
    if "respond-async" in prefer:
        return later(door, caller, parsed, key)
    meter = Meter(job_id := new_id())
    follower = door.follow(caller.tenant, job_id)
    with Listener(door, follower, environ, keep=_goes_on(parsed, key)) as listener:
        stream = parsed.body.get("stream") is True
        accepted = submit(
            door,
            caller,
            parsed,
            job_id=job_id,
            seal=follower.seal,
            wait="stream" if stream else "answer",
            idempotency_key=key,
        )
        if accepted.id != job_id:  # it was asked before, and whoever asked it first may still wait
            listener.turn_to(attach(door, caller, accepted.id, 0))
            listener.keep = True
            meter = Meter(accepted.id)
        else:
            follower.masked = accepted.masked
        try:
            if stream:
                streamed = _stream(listener, sse.Lines(accepted.id, accepted.spec, meter))
                return _told(accepted, _without(parsed.dropped, _warned(accepted.spec, streamed)))
            wait = _PREFER_WAIT.search(prefer) if prefer else None
            end = listener.follower.end(float(wait[1]) if wait else _FOR_EVER_S)
        except GatewayError as error:  # this wait has failed, the job goes on
            return _told(accepted, _of_job(shown.answer(error), accepted.id))
        if end is None:
            return _without(parsed.dropped, pending(accepted))
        return _told(accepted, _whole(end, meter, parsed.dropped))


def _told(accepted: Accepted, answer: Answer) -> Answer:
    """An answer that says what is left of the caller's limits."""
    answer.headers = {**accepted.headers, **answer.headers}  # a refusal knows better
    return answer


def _without(dropped: tuple[str, ...], answer: Answer) -> Answer:
    """An answer that names the parameters which were left out."""
    if dropped:
        answer.headers["x-gateway-dropped"] = in_header(", ".join(dropped))
    return answer


def _warned(spec: Spec, answer: Answer) -> Answer:
    """An answer that says what the guard warned of before there was one."""
    if spec.noted:
        answer.headers["x-gateway-guard"] = spec.noted
    return answer


def _goes_on(parsed: Parsed, idempotency_key: str) -> bool:
    """Whether a hang-up leaves the job alone. Whoever names it by a key means to ask again."""
    return parsed.fields.disconnect == "continue" or (bool(idempotency_key) and parsed.fields.disconnect is None)


def _of_job(answer: Answer, job_id: str) -> Answer:
    answer.headers["x-gateway-job"] = job_id
    return answer


def later(door: Door, caller: Caller, parsed: Parsed, key: str = "") -> Answer:
    job_id = new_id()
    seal = door.seal(caller.tenant, job_id)
    accepted = submit(door, caller, parsed, job_id=job_id, seal=seal, wait="async", idempotency_key=key)
    return _without(parsed.dropped, pending(accepted))


def pending(accepted: Accepted) -> Answer:
    """202: the job goes on, and this is where it can be asked for."""
    waiting = Answer(queued_view(accepted), 202, {"Location": f"/v1/jobs/{accepted.id}"})
    return _told(accepted, _warned(accepted.spec, _of_job(waiting, accepted.id)))


def attach(door: Door, caller: Caller, job_id: str, after: int) -> Follower:
    """A follower for a job that may run anywhere, from a number on; it reads the log once it has joined.

    Raises:
        NotFound: the tenant has no such job.
        RequestError: the number lies past the job's last event.
    """
    watched = door.pipe.do(store.watch(job_id, caller.tenant, door.replies.boot))
    if watched is None:
        raise errors.NotFound(f"No job '{job_id}' was found.", code="job_not_found", param="job_id")
    if after > watched.seq:
        raise errors.RequestError(
            f"The job has {watched.seq} events so far; there is nothing after {after} yet.",
            param="starting_after",
            code="cursor_out_of_range",
        )
    follower = door.follow(caller.tenant, job_id, after, door.masked(caller.tenant, job_id, watched.mask))
    follower.heal_soon()
    return follower


def _whole(end: Event, meter: Meter, dropped: tuple[str, ...]) -> Answer:
    answer = shown.answer(errors.load(end.head["error"])) if "error" in end.head else Answer(end.body)
    head = {**end.head, "dropped": [*dropped, *end.head.get("dropped", ())]} if dropped else end.head
    answer.headers |= meter.headers(head)
    return answer


def _stream(listener: Listener, lines: sse.Lines) -> Answer:
    """A stream whose status is held until something of the answer has come: an early failure is a real 4xx or 5xx."""
    first = _first(listener.follower)
    job_id = listener.follower.job_id
    if first is not None and first[1].kind is Kind.END and "error" in first[1].head:
        return _of_job(shown.answer(errors.load(first[1].head["error"])), job_id)
    return _answered(listener.hand_over(), lines, first)


def _first(follower: Follower) -> tuple[int, Event] | None:
    """The first delta or the end, if one comes soon. What only says that a worker has begun decides nothing."""
    until = time.monotonic() + HOLD_S
    found = follower.next(HOLD_S)
    while found is not None and found[1].kind is Kind.STARTED:
        found = follower.next(max(0.0, until - time.monotonic()))
    return found


def _answered(listener: Listener, lines: sse.Lines, first: tuple[int, Event] | None) -> Answer:
    follower = listener.follower
    straight = functools.partial(sse.straight, follower, lines)
    return sse.answer(_begun(_written(listener, lines, first)), follower.job_id, straight)


def _begun(written: Iterator[bytes]) -> Iterator[bytes]:
    """At its first step: a generator that never began (a HEAD, a client that is gone) would not be told of its end."""
    next(written)
    return written


def _written(listener: Listener, lines: sse.Lines, first: tuple[int, Event] | None) -> Iterator[bytes]:
    kind: type[BaseException] | None = None
    try:
        yield b""
        yield from sse.stream(listener.follower, lines, first)
    except GatewayError as error:  # the status has gone out: what breaks now is told in the stream
        yield b"data: %b\n\n%b" % (shown.body(error), sse.DONE)
    except HungUp:
        kind = HungUp
    except GeneratorExit:
        kind = GeneratorExit
        raise
    finally:
        listener.close(kind)


def replay(door: Door, caller: Caller, job_id: str, after: int, environ: dict[str, Any]) -> Answer:
    """A job's events from a number on, as SSE; whoever watches and leaves does not disturb the job."""
    status = door.pipe.do(store.status(job_id, caller.tenant))
    if status is None:
        raise errors.NotFound(f"No job '{job_id}' was found.", code="job_not_found", param="job_id")
    if after and after == status.seq and status.state.ended:
        return sse.answer(iter([sse.DONE]), job_id)
    listener = Listener(door, attach(door, caller, job_id, after), environ)
    lines = sse.Lines(job_id, status.spec, Meter(job_id))
    return _answered(listener, lines, None)
