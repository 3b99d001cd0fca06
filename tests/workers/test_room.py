"""What a provider says in an answer's headers of what is left of its limits."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Mapping

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mesh.settings import ProviderConfig
from routing.health import Room
from workers.providers import ADAPTERS, Call, open_provider
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


async def _heard() -> list[tuple[str, Room]]:
    """What is heard of one answer with such headers."""

    async def answer(request: web.Request) -> web.Response:
        chosen = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [chosen]}
        told = {"X-RateLimit-Remaining-Requests": "41", "x-ratelimit-reset-requests": "2s"}
        return web.json_response(body, headers=told)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    heard: list[tuple[str, Room]] = []
    async with TestServer(app) as server:
        config = ProviderConfig(adapter="openai", base_url=str(server.make_url("/v1")))
        provider = open_provider("p", config, heard=lambda model, room: heard.append((model, room)))
        body = {"model": "public", "messages": [{"role": "user", "content": "Hello"}]}
        await provider.answer(
            Call(endpoint="chat.completions", model="m", public_model="public", body=body, answer_id="1", created=1)
        )
        await provider.aclose()
    return heard


def test_an_answers_headers_reach_whoever_listens() -> None:
    assert asyncio.run(_heard()) == [("m", Room(41, None, 2.0))]


def test_each_adapter_says_whether_its_provider_tells() -> None:
    told = {name for name, adapter in ADAPTERS.items() if adapter.ROOM is not None}
    assert told == {"anthropic", "openai"}
