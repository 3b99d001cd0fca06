"""What is told of a model: config's word first, then the list's, and nothing that nobody has said."""

from __future__ import annotations

import pytest

from mesh.job import Target
from mesh.settings import parse_config
from routing.choose import Router
from web import answers

CONFIG = parse_config("""
provider_models: {}
providers:
  openai: {adapter: openai}
  bedrock: {adapter: bedrock}
  ollama: {adapter: ollama, private: true}
models:
  gpt-4o:
    {max_output: 16384, tools: true, json_schema: true, input_modalities: [text, image], output_modalities: [text]}
  ollama/gpt-4o: {context_window: 4096, tools: false}
  gpt-4o-mini: {context_window: 1000, input_usd_per_mtok: 1, output_usd_per_mtok: 2.50}
""")
CATALOG = Router(CONFIG, []).catalog
FREE = dict.fromkeys(("input_usd_per_mtok", "output_usd_per_mtok", "cached_usd_per_mtok", "written_usd_per_mtok"), "0")


def test_config_tells_what_the_list_does_not() -> None:
    assert CATALOG.facts(Target("openai", "gpt-4o")) == {
        "context_window": 128_000,
        "max_output": 16_384,
        "input_modalities": ["text", "image"],
        "output_modalities": ["text"],
        "tools": True,
        "json_schema": True,
        "deprecated": False,
        "price": {
            "input_usd_per_mtok": "2.5",
            "output_usd_per_mtok": "10",
            "cached_usd_per_mtok": "1.25",
            "written_usd_per_mtok": None,
        },
    }


def test_config_is_believed_before_the_list() -> None:
    facts = CATALOG.facts(Target("openai", "gpt-4o-mini"))

    assert facts["context_window"] == 1000
    assert facts["price"] == {
        "input_usd_per_mtok": "1",
        "output_usd_per_mtok": "2.5",
        "cached_usd_per_mtok": "1",
        "written_usd_per_mtok": "1",
    }


def test_an_entry_for_one_provider_goes_before_one_for_all() -> None:
    facts = CATALOG.facts(Target("ollama", "gpt-4o"))

    assert (facts["context_window"], facts["max_output"], facts["tools"]) == (4096, None, False)
    assert facts["price"] == FREE


@pytest.mark.parametrize("target", [Target("openai", "nobody-knows"), Target("nobody", "gpt-4")], ids=str)
def test_what_nobody_has_said_is_null(target: Target) -> None:
    facts = CATALOG.facts(target)

    assert set(facts) == set(answers.ModelFacts.model_fields)
    assert set(facts.values()) == {None}


def test_bedrock_is_known_by_the_name_that_the_list_has_for_it() -> None:
    facts = CATALOG.facts(Target("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"))

    assert facts["context_window"] == 200_000
    assert facts["price"]["input_usd_per_mtok"]


def test_a_price_that_rises_with_the_prompt_is_shown_as_it_begins() -> None:
    facts = CATALOG.facts(Target("anthropic", "claude-sonnet-4-5"))

    assert facts["price"]["input_usd_per_mtok"] == "3"
    answers.ModelFacts.model_validate(facts, strict=True)
