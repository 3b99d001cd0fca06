"""From what a request wishes to the targets that may answer it, in order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from mesh.errors import GatewayError, NotFound, RequestError
from mesh.settings import parse_config
from routing.choose import Router, Wish
from routing.prices import Most

CONFIG = parse_config("""
provider_models:
  openai: [gpt-4, gpt-, o1, text-embedding]
  azure: [gpt-4-turbo]
  ollama: [llama, gpt-oss]
  closed: [gpt-4o-special, claude]
providers:
  openai: {adapter: openai}
  azure: {adapter: openai}
  ollama: {adapter: ollama, private: true}
  closed: {adapter: openai, enabled: false}
""")
ROUTER = Router(CONFIG, ["openai", "azure", "ollama"])


def route(model: str, **wish: Any) -> list[str]:
    return [f"{target.provider}:{target.model}" for target in ROUTER.route(Wish(model=model, **wish)).targets]


@pytest.mark.parametrize(
    ("model", "target"),
    [
        pytest.param("gpt-4", "openai:gpt-4", id="the prefix itself"),
        pytest.param("gpt-4o", "openai:gpt-4o", id="a prefix"),
        pytest.param("gpt-4-turbo-2024", "azure:gpt-4-turbo-2024", id="the longest prefix wins"),
        pytest.param("gpt-oss:20b", "ollama:gpt-oss:20b", id="over a shorter one of another provider"),
        pytest.param("gpt-4o-special", "openai:gpt-4o-special", id="the longest of those that are live"),
        pytest.param("ollama/mistral", "ollama:mistral", id="the provider in the name, without a prefix"),
        pytest.param("openai/gpt-4-turbo", "openai:gpt-4-turbo", id="the provider in the name, against the prefix"),
        pytest.param("ollama/hf.co/some/model", "ollama:hf.co/some/model", id="only the first slash parts"),
        pytest.param("llama/3", "ollama:llama/3", id="a slash behind what is no provider"),
    ],
)
def test_a_models_name_leads_to_its_provider(model: str, target: str) -> None:
    assert route(model) == [target]


def test_a_named_provider_is_asked_whatever_the_prefix_says() -> None:
    assert route("gpt-4-turbo", provider="openai") == ["openai:gpt-4-turbo"]
    assert route("anything", provider="azure") == ["azure:anything"]


def test_fallbacks_follow_in_their_order_and_none_twice() -> None:
    wished = ["azure/gpt-4", "gpt-4o", "llama3", "gpt-4o", "azure/gpt-4"]
    assert route("gpt-4o", fallbacks=wished) == ["openai:gpt-4o", "azure:gpt-4", "ollama:llama3"]


def test_a_named_provider_does_not_bind_the_fallbacks() -> None:
    assert route("gpt-4", provider="azure", fallbacks=["llama3"]) == ["azure:gpt-4", "ollama:llama3"]


def test_a_private_request_keeps_only_private_targets() -> None:
    assert route("gpt-4o", fallbacks=["llama3", "azure/gpt-4"], private=True) == ["ollama:llama3"]


def test_what_may_cost_too_much_is_left_out() -> None:
    many: dict[str, Any] = {"most": Most(1000, 1000)}
    cheap_first = route("gpt-4", fallbacks=["gpt-4o-mini", "llama3"], max_cost_usd=Decimal("0.01"), **many)
    assert cheap_first == ["openai:gpt-4o-mini", "ollama:llama3"]
    assert route("gpt-4", max_cost_usd=Decimal(10), **many) == ["openai:gpt-4"]
    # A target whose price nobody knows may cost anything.
    assert route("azure/nobody-knows", fallbacks=["llama3"], max_cost_usd=Decimal(10), **many) == ["ollama:llama3"]


def test_more_text_or_more_answer_costs_more() -> None:
    limit = Decimal("0.05")
    assert route("gpt-4", max_cost_usd=limit, most=Most(100, 100))
    for more in (
        {"most": Most(100_000, 100)},
        {"most": Most(100, 10_000)},
        {"most": Most(100)},
    ):
        with pytest.raises(RequestError) as caught:
            route("gpt-4", max_cost_usd=limit, **more)
        assert caught.value.code == "max_cost_exceeded"


BAD = [
    pytest.param({"model": "no-such"}, NotFound, "model_not_found", "model", id="nobody serves it"),
    pytest.param({"model": ""}, NotFound, "model_not_found", "model", id="no name"),
    pytest.param({"model": "claude-3"}, NotFound, "model_not_found", "model", id="its provider is not enabled"),
    pytest.param(
        {"model": "gpt-4", "provider": "nobody"},
        RequestError,
        "provider_not_found",
        "provider",
        id="an unknown provider",
    ),
    pytest.param(
        {"model": "gpt-4", "provider": "closed"},
        RequestError,
        "provider_disabled",
        "provider",
        id="a provider that is not enabled",
    ),
    pytest.param(
        {"model": "gpt-4", "fallbacks": ["no-such"]}, NotFound, "model_not_found", "fallbacks", id="an unknown fallback"
    ),
    pytest.param(
        {"model": "gpt-4", "private": True}, RequestError, "no_private_target", "private", id="nobody is private"
    ),
    pytest.param(
        {"model": "gpt-4", "max_cost_usd": Decimal("0.000001")},
        RequestError,
        "max_cost_exceeded",
        "max_cost",
        id="too little money",
    ),
    pytest.param(
        {"model": "azure/x", "max_cost_usd": Decimal(1)},
        RequestError,
        "max_cost_exceeded",
        "max_cost",
        id="nobody knows the price",
    ),
    pytest.param(
        {"model": "closed/x"},
        RequestError,
        "provider_disabled",
        "model",
        id="a name that says a provider that is not enabled",
    ),
    pytest.param(
        {"model": "gpt-4", "fallbacks": ["closed/x"]},
        RequestError,
        "provider_disabled",
        "fallbacks",
        id="such a fallback",
    ),
]


@pytest.mark.parametrize(("wish", "kind", "code", "param"), BAD)
def test_an_impossible_wish_is_refused_by_name(
    wish: dict[str, Any], kind: type[GatewayError], code: str, param: str
) -> None:
    with pytest.raises(kind) as caught:
        ROUTER.route(Wish(**wish))
    assert (type(caught.value), caught.value.code, caught.value.param) == (kind, code, param)
