"""What is listed as impossible must fail, for its own reason, and nothing else may."""

from __future__ import annotations

import pytest

from tests.ecosystem.suites import Cannot, judge

KNOWN = (
    Cannot(tests="S.test_sings*", words="has no voice", why="it is mute", providers=("fish",)),
    Cannot(tests="S.test_flies", words="has no wings", why="it swims", providers=("fish",)),
)
GOOD = {"S.test_swims": "", "S.test_sings[high]": "failure: it has no voice", "S.test_flies": "skipped: has no wings"}


def test_a_listed_failure_is_none() -> None:
    judge(GOOD, "fish", KNOWN)
    judge(dict.fromkeys(GOOD, ""), "bird", KNOWN)


@pytest.mark.parametrize(
    ("provider", "found", "said"),
    [
        pytest.param(
            "fish", {**GOOD, "S.test_swims": "failure: it drowns"}, "S.test_swims: .*it drowns", id="unlisted"
        ),
        pytest.param("bird", GOOD, "S.test_sings", id="listed for another provider"),
        pytest.param("fish", {**GOOD, "S.test_flies": "error: it burst"}, "it burst", id="for another reason"),
        pytest.param("fish", {**GOOD, "S.test_flies": ""}, "passes, though it is listed: it swims", id="passes"),
        pytest.param("fish", {**GOOD, "S.test_sings[low]": ""}, "passes, though", id="one of several passes"),
        pytest.param("fish", {"S.test_swims": ""}, "no such test", id="is not there"),
        pytest.param("bird", {}, "no test was run", id="nothing was run"),
    ],
)
def test_anything_else_fails(provider: str, found: dict[str, str], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        judge(found, provider, KNOWN)
