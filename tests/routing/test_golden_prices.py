"""Exchanges whose price was worked out by hand from what the providers publish."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from mesh.job import Target
from mesh.settings import parse_config
from routing.prices import PriceList

CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("golden_prices.yaml").read_text())
CONFIG = """
provider_models: {}
providers:
  openai: {adapter: openai, batch_price_share: 0.5}
  anthropic: {adapter: anthropic}
  bedrock: {adapter: bedrock}
  ollama: {adapter: ollama, private: true}
models:
  gpt-4o-audio-preview: {audio_input_usd_per_mtok: 40, audio_output_usd_per_mtok: 80}
"""
PRICES = PriceList(parse_config(CONFIG))


def usage(told: dict[str, int]) -> dict[str, Any]:
    """As OpenAI's wire has it."""
    read = {"cached_tokens": told.get("cached"), "cache_write_tokens": told.get("written")}
    read |= {"cache_write_1h_tokens": told.get("kept")}
    said = {"reasoning_tokens": told.get("reasoning"), "audio_tokens": told.get("spoken")}
    return {
        "prompt_tokens": told["prompt"],
        "completion_tokens": told["answer"],
        "prompt_tokens_details": read | {"audio_tokens": told.get("audio")},
        "completion_tokens_details": said,
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['provider']}: {case['name']}")
def test_an_exchange_costs_what_is_published(case: dict[str, Any]) -> None:
    target = Target(case["provider"], case["model"])
    batch = "batch_share" in case["published"]
    assert PRICES.cost_usd(target, usage(case["usage"]), batch=batch) == Decimal(case["usd"])


def test_there_are_thirty_over_the_four_providers_each_with_its_source() -> None:
    providers = Counter(case["provider"] for case in CASES)
    assert len(CASES) >= 30 and providers.keys() == {"openai", "anthropic", "bedrock", "ollama"}
    assert all(case["source"] for case in CASES)
    assert {case["provider"] for case in CASES if case.get("seen")} == {"openai", "anthropic"}
    assert {"cached", "written", "kept", "audio", "spoken", "reasoning"} <= {
        name for case in CASES for name in case["usage"]
    }


def test_the_batch_lane_costs_the_list_price_where_nothing_else_was_agreed() -> None:
    told = usage({"prompt": 1000, "answer": 1000})
    haiku = Target("anthropic", "claude-haiku-4-5")
    assert PRICES.cost_usd(haiku, told, batch=True) == PRICES.cost_usd(haiku, told) == Decimal("0.006")
    mini = Target("openai", "gpt-4o-mini")
    whole = PRICES.cost_usd(mini, told)
    assert whole is not None and PRICES.cost_usd(mini, told, batch=True) == whole / 2
