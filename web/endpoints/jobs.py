"""/v1/jobs: submit now and ask later, watch, resume, cancel."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Blueprint, Response, request

from mesh import errors, store
from mesh.job import State
from web import body
from web.auth import Caller
from web.door import Door
from web.jobview import view
from web.requests import JOBS, headers_in, parse
from web.respond import later, replay

_MOST_LISTED = 100


def number(text: str, param: str, least: int, most: int) -> int:
    """
    Raises:
        RequestError: not a whole number in these bounds; names `param`.
    """
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise errors.RequestError(f"Invalid '{param}': expected a whole number from {least} to {most}.", param=param)
    return int(text)


def blueprint(door: Door) -> Blueprint:
    jobs = Blueprint("jobs", __name__)

    def caller() -> Caller:
        return door.gatekeeper.caller(request.environ.get("HTTP_AUTHORIZATION", ""))

    def shown(job_id: str, tenant: str, *, whole: bool) -> dict[str, Any] | None:
        # Whole answers may be megabytes: they go the way where nobody waits behind them.
        status = (door.freight if whole else door.pipe).do(store.status(job_id, tenant, result=whole))
        if status is None:
            return None
        masked = door.masked(tenant, job_id, status.mask if whole else b"")
        return view(status, door.seal(tenant, job_id), masked, whole=whole)

    def answer(body: Any) -> Response:
        return Response(orjson.dumps(body), mimetype="application/json")

    def missing(job_id: str) -> errors.NotFound:
        return errors.NotFound(f"No job '{job_id}' was found.", code="job_not_found", param="job_id")

    @jobs.post(JOBS)
    def create_job() -> Response:
        who, limits = caller(), door.config.requests
        parsed = parse(JOBS, body.read(request.environ, limits.max_body_bytes), limits, headers_in(request.environ))
        return later(door, who, parsed, request.environ.get("HTTP_IDEMPOTENCY_KEY", "")).flask()

    @jobs.get(JOBS)
    def list_jobs() -> Response:
        who = caller()
        state, after = request.args.get("state", ""), request.args.get("after", "")
        if state and state not in set(State):
            raise errors.RequestError(f"Invalid 'state': expected one of {', '.join(State)}.", param="state")
        limit = number(request.args.get("limit", "20"), "limit", 1, _MOST_LISTED)
        page = door.pipe.do(store.list_jobs(who.tenant, state=state, after=after, limit=limit))
        if page is None:
            raise errors.RequestError(f"Invalid 'after': no job '{after}' was found.", param="after")
        rows = [row for job_id in page.ids if (row := shown(job_id, who.tenant, whole=False)) is not None]
        return answer(
            {
                "object": "list",
                "data": rows,
                "has_more": bool(page.onward),
                "first_id": rows[0]["id"] if rows else None,
                "last_id": page.onward or (rows[-1]["id"] if rows else None),  # what to give as `after` next
            }
        )

    @jobs.get(f"{JOBS}/<job_id>")
    def get_job(job_id: str) -> Response:
        found = shown(job_id, caller().tenant, whole=True)
        if found is None:
            raise missing(job_id)
        return answer(found)

    @jobs.delete(f"{JOBS}/<job_id>")
    def cancel_job(job_id: str) -> Response:
        who = caller()
        if door.pipe.do(store.cancel(job_id, who.tenant)) is None:
            raise missing(job_id)
        return answer(shown(job_id, who.tenant, whole=True))

    @jobs.get(f"{JOBS}/<job_id>/events")
    def job_events(job_id: str) -> Response:
        who = caller()
        text = request.args.get("starting_after")
        if text is None:
            of_job, _, text = request.headers.get("Last-Event-ID", "0").rpartition(":")
            if of_job not in ("", job_id):
                raise errors.RequestError("The Last-Event-ID is another job's.", param="starting_after")
        return replay(door, who, job_id, number(text, "starting_after", 0, 10**9), request.environ).flask()

    return jobs
