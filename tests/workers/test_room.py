"""What a provider says in an answer's headers of what is left of its limits."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

import pytest

from routing.health import Room
from workers.providers import ADAPTERS
from workers.transports.room import RoomNames, room_in

NAMES = RoomNames("left", "tokens", "reset", "tokens-reset")
SAID = [
    pytest.param(
        {"left": "59", "tokens": "149984", "reset": "1s", "tokens-reset": "6m0s"}, (59, 149984, 360), id="both"
    ),
    pytest.param({"left": "0", "reset": "20ms"}, (0, None, 0.02), id="requests only"),
    pytest.param({"tokens": "7", "tokens-reset": "1h2m3.5s"}, (None, 7, 3600), id="no longer than an hour"),
    pytest.param({"left": "3", "reset": "12"}, (3, None, 12), id="bare seconds"),
    pytest.param({"left": "3"}, (3, None, 10), id="no end told"),
    pytest.param({"left": "3", "reset": "soon"}, (3, None, 10), id="an end that is none"),
    pytest.param({"left": "3", "reset": "nan"}, (3, None, 10), id="not a number"),
    pytest.param({"left": "3", "reset": "1s and more"}, (3, None, 10), id="only half a span"),
    pytest.param({"left": "-1"}, None, id="less than nothing"),
    pytest.param({"left": "many", "tokens": ""}, None, id="no numbers"),
    pytest.param({"left": "9" * 40}, None, id="too long a number"),
    pytest.param({"left": "٣"}, None, id="digits of another script"),
    pytest.param({}, None, id="nothing"),
]


@pytest.mark.parametrize(("headers", "expected"), SAID)
def test_headers_tell_the_room(
    headers: Mapping[str, str], expected: tuple[int | None, int | None, float] | None
) -> None:
    assert room_in(headers, NAMES) == (None if expected is None else Room(*expected))


def test_an_end_may_be_a_moment() -> None:
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    room = room_in({"left": "3", "reset": end.isoformat().replace("+00:00", "Z")}, NAMES)
    assert room is not None and room.whole_s == pytest.approx(30, abs=1)


def test_each_adapter_says_whether_its_provider_tells() -> None:
    told = {name for name, adapter in ADAPTERS.items() if adapter.ROOM is not None}
    assert told == {"anthropic", "openai"}
