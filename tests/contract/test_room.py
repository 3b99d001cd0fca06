"""What a provider says in its answers' headers of its limits is heard over every transport, whole or streamed."""

from __future__ import annotations

import pytest

from routing.health import Room
from tests.contract.exchange import Pair, call, chat, collected, ended, run
from tests.standins import Fault
from workers.providers import ADAPTERS
from workers.transports.room import RoomNames

LEFT = Room(requests=41, tokens=1500, whole_s=6.0)
UNKNOWN = RoomNames("x-left", "x-tokens", "x-left-reset", "x-tokens-reset")  # of a provider that means nothing by them


async def heard(pair: Pair, *, stream: bool = False, fault: Fault | None = None) -> list[tuple[str, Room]]:
    """What is heard of one answer, and of the list of models, which is no model's."""
    names = ADAPTERS[pair.adapter].ROOM or UNKNOWN
    rooms: list[tuple[str, Room]] = []
    async with pair.opened(heard=lambda model, room: rooms.append((model, room))) as (server, provider):
        server.told = {
            names.requests: "41", names.tokens: "1500", names.requests_reset: "2s", names.tokens_reset: "6s",
        }  # fmt: skip
        await provider.models()
        server.fault = fault
        asking = collected(provider, call(chat())) if stream else provider.answer(call(chat()))
        assert (await ended(asking) is None) is (fault is None)
    return rooms


@pytest.mark.parametrize("fault", [None, Fault("garbage")], ids=["good", "broken"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_answers_headers_reach_whoever_listens(pair: Pair, stream: bool, fault: Fault | None) -> None:
    speaks = ADAPTERS[pair.adapter].ROOM is not None
    assert run(heard(pair, stream=stream, fault=fault)) == ([("provider-model", LEFT)] if speaks else [])
