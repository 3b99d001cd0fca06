"""Where a job goes when a target has failed it: by the class of the error, along the route and config's chains."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from mesh import errors
from mesh.errors import Again, GatewayError
from mesh.job import Spec
from mesh.routes import Cause

# Found along the error's class tree, the nearest class first.
CAUSES: Mapping[type[GatewayError], Cause] = {
    errors.ContextTooLong: "context_length",
    errors.ProviderLimited: "rate_limit",
    errors.ContentBlocked: "content_policy",
    errors.ProviderTimeout: "timeout",
    errors.ProviderUnavailable: "unavailable",
    errors.ProviderBrokeOff: "unavailable",
    errors.ProviderKeyRefused: "unavailable",
    errors.ModelNotFound: "unavailable",
    errors.ProviderRejected: "rejected",
}


def cause_of(error: GatewayError) -> Cause:
    return next((CAUSES[kind] for kind in type(error).__mro__ if kind in CAUSES), "error")


def following(spec: Spec, error: GatewayError) -> Iterator[int]:
    """The places in the route where the job may be tried next, the best first; none twice, and none that failed it.

    The chain of the error's own cause leads where the error itself would end the job; the chain `error` and the rest of
    the route only where another target may do better.
    """
    seen = {*spec.tried, spec.at}

    def fresh(places: Iterator[int]) -> Iterator[int]:
        for place in places:
            if place not in seen:
                seen.add(place)
                yield place

    cause = cause_of(error)
    if cause != "error":
        yield from fresh(iter(spec.chains.get(cause, ())))
    if error.again is not Again.NEVER:
        yield from fresh(iter(range(spec.main or len(spec.targets))))
        yield from fresh(iter(spec.chains.get("error", ())))


def moved(spec: Spec, place: int) -> Spec:
    """The same job at another place of its route, after the present one has failed it."""
    return dataclasses.replace(aside(spec, place), tried=(*spec.tried, spec.at))


def aside(spec: Spec, place: int) -> Spec:
    """The same job at another place of its route, though the present one has not failed it."""
    return dataclasses.replace(spec, at=place, moved=True)
