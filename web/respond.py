"""The ways in which an accepted job is answered over HTTP: at once, as a stream, or later."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from flask import Response

from mesh import errors, store
from mesh.events import Event, Kind
from mesh.job import new_id
from web import errors as shown
from web import hangup, sse
from web.auth import Caller
from web.door import Door
from web.jobview import queued_view
from web.meter import Meter
from web.replies import Follower, HungUp
from web.requests import Parsed
from web.submit import Accepted, submit

HOLD_S = 10.0  # an SSE answer keeps its status open for the first event for so long
_FOR_EVER_S = 10 * 86_400.0  # a job ends by its own deadline, the wait has none
_PREFER_WAIT = re.compile(r"(?:^|[\s,;])wait\s*=\s*(\d{1,6})(?:$|[\s,;])")


def answer(door: Door, caller: Caller, parsed: Parsed, environ: dict[str, Any]) -> Response:
    """Submit and answer as the request asks: `stream`, `Prefer: respond-async`, `Prefer: wait=N`, or blocking."""
    prefer = environ.get("HTTP_PREFER", "")
    key = environ.get("HTTP_IDEMPOTENCY_KEY", "")
    if "respond-async" in prefer:
        return later(door, caller, parsed, key)
    meter = Meter(job_id := new_id())
    with ExitStack() as stack:
        follower = stack.enter_context(door.follow(caller.tenant, job_id))
        stream = parsed.body.get("stream") is True
        accepted = submit(
            door, caller, parsed, job_id=job_id, seal=follower.seal, wait="stream" if stream else "answer", idempotency_key=key
        )
        if accepted.id != job_id:
            follower = stack.enter_context(attach(door, caller, accepted.id, 0))
            meter = Meter(accepted.id)
        keep = parsed.fields.disconnect == "continue" or accepted.id != job_id
        stack.enter_context(hangup.watch(environ, follower.hang_up))
        stack.enter_context(_cancelled_on_hangup(door, follower, keep))
        if stream:
            return _stream(stack.pop_all(), follower, sse.Lines(accepted.id, accepted.spec, meter), accepted.id)
        wait = _PREFER_WAIT.search(prefer)
        end = follower.end(float(wait[1]) if wait else _FOR_EVER_S)
        if end is None:
            return pending(accepted)
        return _whole(end, meter, parsed.dropped)


def later(door: Door, caller: Caller, parsed: Parsed, key: str = "") -> Response:
    job_id = new_id()
    seal = door.seal(caller.tenant, job_id)
    return pending(submit(door, caller, parsed, job_id=job_id, seal=seal, wait="async", idempotency_key=key))


def pending(accepted: Accepted) -> Response:
    """202: the job goes on, and this is where it can be asked for."""
    response = Response(queued_view(accepted), 202, mimetype="application/json")
    response.headers["Location"] = f"/v1/jobs/{accepted.id}"
    response.headers["x-gateway-job"] = accepted.id
    return response


def attach(door: Door, caller: Caller, job_id: str, after: int) -> Follower:
    """A follower for a job that may run anywhere, from a number on; enter it to join.

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
    follower = door.follow(caller.tenant, job_id, after)
    follower.heal_soon()
    return follower


class _cancelled_on_hangup:  # noqa: N801  # read as a statement: with _cancelled_on_hangup(…)
    """Cancels the job when its client goes before the end, unless it is to go on."""

    def __init__(self, door: Door, follower: Follower, keep: bool) -> None:
        self._door = door
        self._follower = follower
        self._keep = keep

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, (HungUp, GeneratorExit)) and not self._keep:
            self._door.pipe.do(store.cancel(self._follower.job_id, self._follower.tenant, "hangup"))


def _whole(end: Event, meter: Meter, dropped: tuple[str, ...]) -> Response:
    if "error" in end.head:
        response = shown.response(errors.load(end.head["error"]))
    else:
        response = Response(end.body, 200, mimetype="application/json")
    head = {**end.head, "dropped": [*dropped, *end.head.get("dropped", ())]} if dropped else end.head
    for name, value in meter.headers(head).items():
        response.headers[name] = value
    return response


def _stream(stack: ExitStack, follower: Follower, lines: sse.Lines, job_id: str) -> Response:
    """A stream whose status is held until something of the answer has come, so that an early failure is a real 4xx or 5xx."""
    with stack:
        first = _first(follower)
        if first is not None and first[1].kind is Kind.END and "error" in first[1].head:
            response = shown.response(errors.load(first[1].head["error"]))
            response.headers["x-gateway-job"] = job_id
            return response
        written = _written(stack.pop_all(), follower, lines, first)
    response = Response(written, mimetype="text/event-stream", headers=sse.HEADERS)
    response.headers["x-gateway-job"] = job_id
    return response


def _first(follower: Follower) -> tuple[int, Event] | None:
    """The first delta or the end, if one comes soon. What only says that a worker has begun decides nothing."""
    found = follower.next(HOLD_S)
    while found is not None and found[1].kind is Kind.STARTED:
        found = follower.next(HOLD_S)
    return found


def _written(
    stack: ExitStack, follower: Follower, lines: sse.Lines, first: tuple[int, Event] | None
) -> Iterator[bytes]:
    with stack:
        try:
            yield from sse.stream(follower, lines, first)
        except errors.GatewayError as error:  # the status has gone out: what breaks now is told in the stream
            yield b"data: %b\n\n%b" % (shown.body(error), sse.DONE)


def replay(door: Door, caller: Caller, job_id: str, after: int, environ: dict[str, Any]) -> Response:
    """A job's events from a number on, as SSE; whoever watches and leaves does not disturb the job."""
    status = door.pipe.do(store.status(job_id, caller.tenant))
    if status is None:
        raise errors.NotFound(f"No job '{job_id}' was found.", code="job_not_found", param="job_id")
    with ExitStack() as stack:
        follower = stack.enter_context(attach(door, caller, job_id, after))
        stack.enter_context(hangup.watch(environ, follower.hang_up))
        lines = sse.Lines(job_id, status.spec, Meter(job_id))
        if after and after == status.seq and status.state.ended:
            written: Iterator[bytes] = iter([sse.DONE])
        else:
            written = _written(stack.pop_all(), follower, lines, None)
    return Response(written, mimetype="text/event-stream", headers={**sse.HEADERS, "x-gateway-job": job_id})
