"""The comparison of transports with bare SDKs: its arithmetic, and that every provider can be called in every way."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

import pytest
import uvloop
from benchmarks import providers, ways
from benchmarks.providers import missed, rows, table
from benchmarks.ways import BARE, Cost, Load

from tests.contract.conftest import credentials_of_a_cloud  # noqa: F401
from tests.standins import Reply
from workers.providers import ADAPTERS


def costs(direct: list[float], bare: list[float], name: str = "ollama") -> dict[str, dict[str, list[Cost]]]:
    return {name: {"direct": [Cost(each, 1) for each in direct], BARE: [Cost(each, 10) for each in bare]}}


def test_a_ratio_is_of_the_same_round() -> None:
    whole, chunk = rows(costs([1, 4, 2], [10, 10, 40]))

    assert whole.name == "ollama, CPU ms a whole answer" and whole.must == "1/3"
    assert whole.values == {"direct": 2, BARE: 10, "direct / bare SDK": 0.1}  # of 0.1, 0.4 and 0.05
    assert chunk.values["direct / bare SDK"] == 0.1


@pytest.mark.parametrize(
    ("name", "direct", "over"),
    [
        pytest.param("ollama", 3.3, False, id="a third"),
        pytest.param("ollama", 3.4, True, id="more than a third"),
        pytest.param("openai", 2.0, False, id="a fifth of OpenAI's"),
        pytest.param("openai", 2.1, True, id="more than a fifth of OpenAI's"),
    ],
)
def test_who_takes_too_much_is_named(name: str, direct: float, over: bool) -> None:
    assert missed(rows(costs([direct], [10], name))) == ([f"{name}, CPU ms a whole answer"] if over else [])


def test_a_provider_without_direct_has_no_ratio_and_misses_nothing() -> None:
    found = rows({"bedrock": {"sdk": [Cost(9, 9)], BARE: [Cost(1, 1)]}})

    assert [row.must for row in found] == ["", ""] and missed(found) == []
    assert "| bedrock, CPU ms a whole answer |" in table(found)


def test_every_provider_has_a_bare_sdk() -> None:
    assert set(ways._BARE) == set(ADAPTERS)


@pytest.mark.parametrize(("name", "way"), [(name, way) for name in ADAPTERS for way in providers.ways(name)])
def test_every_provider_is_called_in_every_way(name: str, way: str) -> None:
    cost = uvloop.run(_measured(name, way, chunks=5))

    assert cost.call_ms > 0 and cost.chunk_us > 0


def test_a_stream_that_is_too_short_has_no_figure() -> None:
    with pytest.raises(ways.Short, match="ollama over direct"):
        uvloop.run(_measured("ollama", "direct", chunks=500))


async def _measured(name: str, way: str, chunks: int) -> Cost:
    async with asyncio.timeout(20), _server(name) as server:
        server.reply = Reply(text="token " * 10)
        url = server.url + server.base
        return await ways.measure(Load(name, way, url, url, chunks, calls=4, streams=2, clients=2))


def _server(name: str) -> Any:
    return importlib.import_module(f"tests.standins.{name}").Server()
