"""Where a failed job goes next: by the class of its error, never by its words."""

from __future__ import annotations

from typing import Any

import pytest

from mesh import errors
from mesh.errors import GatewayError
from mesh.job import Spec, Target
from routing.fallbacks import CAUSES, cause_of, following, moved

TARGETS = tuple(Target("p", name) for name in "abcdef")
# a and b are the route; c to f are reached by chains.
SPEC = Spec(
    endpoint="chat.completions", model="x", targets=TARGETS, main=2,
    chains={"context_length": (2,), "rate_limit": (3, 1), "content_policy": (4,), "error": (5, 0)},
)  # fmt: skip

CASES = [
    pytest.param(errors.ContextTooLong("x"), {}, "cbf", id="too long: its chain, the route, then any"),
    pytest.param(errors.ProviderLimited("x"), {}, "dbf", id="limited: its chain may name one of the route"),
    pytest.param(errors.ContentBlocked("x"), {}, "e", id="blocked: its chain and nothing else"),
    pytest.param(errors.ProviderTimeout("x"), {}, "bf", id="no chain of its own: the route, then any"),
    pytest.param(errors.ProviderRejected("x"), {}, "", id="wrong everywhere"),
    pytest.param(errors.RequestError("x"), {}, "", id="wrong before it was sent"),
    pytest.param(errors.GatewayError("x"), {}, "", id="our own fault"),
    pytest.param(errors.ProviderTimeout("x"), {"at": 1}, "af", id="back to what was not tried"),
    pytest.param(errors.ProviderTimeout("x"), {"at": 1, "tried": (0,)}, "f", id="never to what failed it"),
    pytest.param(errors.ProviderTimeout("x"), {"at": 5, "tried": (0, 1)}, "", id="all of it was tried"),
    pytest.param(errors.ProviderUnavailable("rate limit exceeded"), {}, "bf", id="whatever the text says"),
    pytest.param(
        errors.ProviderUnavailable("x"), {"chains": {}, "main": 0}, "bcdef", id="no chains: all in their order"
    ),
]


@pytest.mark.parametrize(("error", "spec", "letters"), CASES)
def test_a_failed_job_goes_on_by_its_errors_class(error: GatewayError, spec: dict[str, Any], letters: str) -> None:
    fields = {name: getattr(SPEC, name) for name in ("endpoint", "model", "targets", "main", "chains")} | spec
    found = Spec.load(Spec(**fields).dump())
    assert "".join(found.targets[place].model for place in following(found, error)) == letters


def test_moving_on_remembers_what_failed() -> None:
    spec = moved(moved(SPEC, 1), 5)
    assert (spec.at, spec.tried) == (5, (0, 1)) and Spec.load(spec.dump()).tried == (0, 1)


@pytest.mark.parametrize("kind", errors.BY_NAME.values())
def test_every_error_of_a_provider_has_a_cause(kind: type[GatewayError]) -> None:
    named = issubclass(kind, errors.ProviderError) and kind is not errors.ProviderError
    assert cause_of(kind("x")) != "error" if named else cause_of(kind("x")) in {*CAUSES.values(), "error"}
