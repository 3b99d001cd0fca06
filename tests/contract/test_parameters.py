"""A parameter that a provider cannot do is refused by name, or dropped by name, and never ignored in silence."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from mesh.errors import RequestError
from tests.contract.exchange import Pair, call, chat, collected, ended, run
from workers.providers import ADAPTERS, Endpoint
from workers.providers.adapter import Parameter

REFUSED = [
    pytest.param(adapter, endpoint, name, parameter, id=f"{adapter}-{endpoint}-{name}")
    for adapter, module in ADAPTERS.items()
    for endpoint, table in module.PARAMETERS.items()
    for name, parameter in [*table.items(), ("of_nobody", module.UNLISTED)]
    if parameter.how == "refused" or parameter.models  # the model of these tests is of no maker's
]

BODIES: dict[Endpoint, dict[str, Any]] = {
    "chat.completions": chat(),
    "completions": {"model": "public-model", "prompt": "Once"},
    "embeddings": {"model": "public-model", "input": "text"},
}

# Something of each parameter that nobody accepts.
WANTED: dict[str, Any] = {"logit_bias": {"5": 1}, "modalities": ["audio"], "parallel_tool_calls": False, "best_of": 3}

IN_PART = [
    pytest.param(adapter, endpoint, name, value, bool(beyond), id=f"{adapter}-{endpoint}-{name}-{value}")
    for adapter, module in ADAPTERS.items()
    for endpoint, table in module.PARAMETERS.items()
    for name, parameter in table.items()
    for beyond, values in (
        (0, (*parameter.only, *(() if parameter.most is None else (parameter.most,)))),
        (1, (("of_nobody",) if parameter.only else ()) + (() if parameter.most is None else (parameter.most + 0.1,))),
    )
    for value in values
]


async def _answered(adapter: str, endpoint: Endpoint, more: dict[str, Any], **config: Any) -> Any:
    pair = Pair(adapter, "direct", _server(adapter))
    one = call({**BODIES[endpoint], **more}, endpoint)
    async with pair.opened(**config) as (server, provider):
        answer = await provider.answer(one)
        chunks = [] if endpoint == "embeddings" else await collected(provider, one)
        return answer, chunks, server.bodies


def _server(adapter: str) -> Any:
    return importlib.import_module(f"tests.standins.{adapter}").Server


@pytest.mark.parametrize(("adapter", "endpoint", "name", "parameter"), REFUSED)
def test_a_parameter_is_refused_by_name(adapter: str, endpoint: Endpoint, name: str, parameter: Parameter) -> None:
    error = run(_error(adapter, endpoint, {name: WANTED.get(name, "something")}))

    assert type(error) is RequestError
    assert (error.code, error.param) == ("unsupported_parameter", name)
    assert name in error.message


async def _error(adapter: str, endpoint: Endpoint, more: dict[str, Any]) -> BaseException | None:
    return await ended(_answered(adapter, endpoint, more))


@pytest.mark.parametrize(("adapter", "endpoint", "name", "parameter"), REFUSED)
def test_a_parameter_is_dropped_by_name(adapter: str, endpoint: Endpoint, name: str, parameter: Parameter) -> None:
    more = {name: WANTED.get(name, "something")}
    answer, chunks, bodies = run(_answered(adapter, endpoint, more, unsupported_parameters="drop"))

    assert answer.dropped == (name,)
    assert all(name not in body for body in bodies)
    assert [chunk.get("gateway_dropped") for chunk in chunks] == ([[name]] if chunks else []) + [None] * (
        len(chunks) - 1
    )


@pytest.mark.parametrize(("adapter", "endpoint", "name", "parameter"), REFUSED)
def test_what_asks_for_nothing_is_let_through(
    adapter: str, endpoint: Endpoint, name: str, parameter: Parameter
) -> None:
    for value in (None, *parameter.accepts):
        answer, _, bodies = run(_answered(adapter, endpoint, {name: value}))

        assert answer.dropped == ()
        assert all(name not in body for body in bodies)


@pytest.mark.parametrize(("adapter", "endpoint", "name", "value", "beyond"), IN_PART)
def test_what_can_be_done_in_part_is_refused_beyond_it(
    adapter: str, endpoint: Endpoint, name: str, value: Any, beyond: bool
) -> None:
    error = run(_error(adapter, endpoint, {name: value}))
    answer, _, _ = run(_answered(adapter, endpoint, {name: value}, unsupported_parameters="drop"))

    assert type(error) is (RequestError if beyond else type(None))
    assert answer.dropped == ((name,) if beyond else ())


@pytest.mark.parametrize("transport", ["direct", "sdk"])
def test_what_we_do_not_know_goes_through_to_a_compatible_server(transport: str) -> None:
    pair = Pair("openai", transport, _server("openai"))
    more: dict[str, Any] = {"guided_choice": ["a", "b"], "service_tier": "flex", "metadata": {"a": "b"}, "store": True}

    async def main() -> list[dict[str, Any]]:
        async with pair.opened() as (server, provider):
            await provider.answer(call(chat(**more)))
            await collected(provider, call(chat(stream_options={"include_obfuscation": False}, **more)))
            return server.bodies

    whole, streamed = run(main())

    assert whole == {**chat(**more), "model": "provider-model"}
    assert streamed == {
        **whole,
        "stream": True,
        "stream_options": {"include_obfuscation": False, "include_usage": True},
    }


def test_every_table_says_how(adapter: list[Pair]) -> None:
    for table in ADAPTERS[adapter[0].adapter].PARAMETERS.values():
        for name, parameter in table.items():
            assert parameter.how != "translated" or parameter.by, f"{name}: translated by what?"
            assert parameter.how == "refused" or parameter.models or not parameter.accepts
