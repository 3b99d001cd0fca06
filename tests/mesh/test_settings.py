"""A mistake in the configuration is refused with its place named; secrets come from the environment or from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mesh.errors import ConfigError
from mesh.settings import HERE, Environment, ProviderConfig, load_config, parse_config

GOOD = """
provider_models: {openai: [gpt-4], ollama: [llama]}
providers:
  openai: {adapter: openai, base_url: "https://api.openai.com/v1", api_key_env: OPENAI_API_KEY}
  ollama: {adapter: ollama, private: true, enabled: false}
"""


def environment(**variables: Any) -> Environment:
    return Environment(**{"config": HERE / "config", **variables})


def test_the_file_that_comes_with_it_is_good() -> None:
    config = load_config(HERE / "config")
    assert {"openai", "ollama"} <= config.providers.keys() and config.provider_models.keys() <= config.providers.keys()
    assert config.requests.max_body_bytes == 4_000_000


BAD = [
    pytest.param("providers: [", "not YAML", id="not YAML"),
    pytest.param("", "expected a mapping", id="an empty file"),
    pytest.param("- a", "expected a mapping", id="a list"),
    pytest.param("providers: {}", "provider_models: Field required", id="half of it"),
    pytest.param(
        GOOD.replace("base_url", "base_ulr"),
        "providers.openai.base_ulr: unknown field, did you mean base_url?",
        id="a typo in a provider",
    ),
    pytest.param(GOOD + "retentoin: {}", "retentoin: unknown field, did you mean retention?", id="a typo on top"),
    pytest.param(
        GOOD + "lanes: {max_waitng: 5}",
        "lanes.max_waitng: unknown field, did you mean max_waiting?",
        id="a typo in a section",
    ),
    pytest.param(GOOD + "sparkle: 1", "sparkle: unknown field", id="nothing like it"),
    pytest.param(
        GOOD + "lanes: {max_waiting: many}", "lanes.max_waiting: Input should be a valid integer", id="a wrong type"
    ),
    pytest.param(
        GOOD + "lanes: {max_waiting: 0}",
        "lanes.max_waiting: Input should be greater than or equal to 1",
        id="too small",
    ),
    pytest.param(
        GOOD + "requests: {max_body_bytes: 99000000}",
        "requests.max_body_bytes: Input should be less than",
        id="too large",
    ),
    pytest.param(
        GOOD.replace("ollama: [llama]", "olama: [llama]"),
        "provider_models.olama: no such provider, did you mean ollama?",
        id="prefixes of nobody",
    ),
    pytest.param(GOOD + "  system: {adapter: openai}", "'system'", id="a provider named system"),
    pytest.param(GOOD + '  "a b": {adapter: openai}', "'a b'", id="a provider with a blank"),
    pytest.param(GOOD + "  a.batch: {adapter: openai}", "'a.batch'", id="a provider named like a lane"),
    pytest.param(GOOD + "  other: {private: true}", "providers.other.adapter: Field required", id="no adapter"),
    pytest.param(GOOD.replace("private: true", "private: perhaps"), "providers.ollama.private", id="not a boolean"),
    pytest.param(
        GOOD + "aliases: {fast: {targets: [gpt-4, opnai/x]}}",
        "aliases.fast.targets.1: no alias, provider or prefix fits 'opnai/x', did you mean openai/…?",
        id="an alias to nobody",
    ),
    pytest.param(
        GOOD + "aliases: {fast: {targets: [gpt-4], canary: {model: zzz, share: 0.1}}}",
        "aliases.fast.canary: no alias",
        id="a canary that there is not",
    ),
    pytest.param(
        GOOD + "aliases: {fast: {targets: [gpt-4], fallbacks: {error: [zzz]}}}",
        "aliases.fast.fallbacks.error.0: no alias",
        id="a fallback that there is not",
    ),
    pytest.param(
        GOOD + "aliases: {a: {targets: [b]}, b: {targets: [gpt-4, a]}}",
        "aliases.a: leads back to itself (a → b → a)",
        id="aliases in a circle",
    ),
    pytest.param(
        GOOD + "aliases: {gpt-4: {targets: [gpt-4]}}", "aliases.gpt-4: leads back to itself", id="an alias of itself"
    ),
    pytest.param(
        GOOD + "aliases: {a/b: {targets: [gpt-4]}}", "aliases.a/b: an alias's name has no slash", id="an alias's slash"
    ),
    pytest.param(GOOD + "aliases: {a: {targets: []}}", "aliases.a.targets", id="an alias of nothing"),
    pytest.param(
        GOOD + "aliases: {a: {targets: [{model: gpt-4, weight: 0}]}}", "aliases.a.targets.0.weight", id="no weight"
    ),
    pytest.param(
        GOOD + "aliases: {a: {targets: [gpt-4], rule: quickest}}", "aliases.a.rule: Input should be", id="no such rule"
    ),
    pytest.param(
        GOOD + "aliases: {a: {targets: [gpt-4], shadow: {model: gpt-4, share: 2}}}",
        "aliases.a.shadow.share",
        id="more than all",
    ),
    pytest.param(
        GOOD + "fallbacks: {gpt-4: {because: [gpt-4]}}", "fallbacks.gpt-4.because", id="a cause that there is not"
    ),
    pytest.param(GOOD + "requests: {default_model: zzz}", "requests.default_model: no alias", id="no such default"),
    pytest.param(GOOD + "circuit: {open_s: 0}", "circuit.open_s", id="a circuit that is never open"),
]


@pytest.mark.parametrize(("text", "place"), BAD)
def test_a_mistake_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "settings.yaml")
    assert str(caught.value).startswith("settings.yaml: ") and place in str(caught.value)


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(GOOD + "lanes: {a: 1}\nrequests: {b: 2}")
    assert "lanes.a: unknown field" in str(caught.value) and "requests.b: unknown field" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gateway-settings\.yaml: No such file"):
        load_config(tmp_path)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parse_config(GOOD).lanes.max_waiting = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("named", "live"), [("", ["openai"]), ("ollama", ["ollama"]), (" ollama , openai,", ["ollama", "openai"])]
)
def test_the_named_providers_are_live_or_else_the_enabled_ones(named: str, live: list[str]) -> None:
    assert environment(providers=named).live(parse_config(GOOD)) == live


def test_a_provider_that_is_not_there_cannot_be_live() -> None:
    with pytest.raises(ConfigError, match="GATEWAY_PROVIDERS: 'opanai'"):
        environment(providers="openai,opanai").live(parse_config(GOOD))


ONE, TWO = "11" * 32, "22" * 32


@pytest.mark.parametrize(
    "text", [f"a:{ONE},b:{TWO}", f" a:{ONE} , b:{TWO} ,", f"a:{ONE}\nb:{TWO}\n", f"\na:{ONE}\n\nb:{TWO.upper()}"]
)
def test_masters_are_read_in_their_order(tmp_path: Path, text: str) -> None:
    path = tmp_path / "seal"
    path.write_text(text)
    expected = [("a", bytes.fromhex(ONE)), ("b", bytes.fromhex(TWO))]
    assert list(environment(seal_key=text).masters("seal").items()) == expected
    assert list(environment(door_key_file=path).masters("door").items()) == expected


BAD_MASTERS = [
    pytest.param("", "is not set", id="nothing"),
    pytest.param(" , ", "is not set", id="commas"),
    pytest.param(ONE, "id:64 hex digits", id="no id"),
    pytest.param(f":{ONE}", "id:64 hex digits", id="an empty id"),
    pytest.param(f"{'a' * 9}:{ONE}", "id:64 hex digits", id="a long id"),
    pytest.param("a:1234", "id:64 hex digits", id="too short"),
    pytest.param(f"a:{ONE}00", "id:64 hex digits", id="too long"),
    pytest.param("a:" + "xy" * 32, "id:64 hex digits", id="not hex"),
    pytest.param(f"a:{ONE},b:", "id:64 hex digits", id="the second is empty"),
    pytest.param(f"a:{ONE},a:{TWO}", "twice", id="one id for two masters"),
    pytest.param(f"a.b:{ONE}", "id:64 hex digits", id="an id with a dot, which ends it where it is sealed"),
]


@pytest.mark.parametrize(("text", "why"), BAD_MASTERS)
def test_a_bad_master_is_refused_without_being_shown(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        environment(seal_key=text).masters("seal")
    assert "GATEWAY_SEAL_KEY" in str(caught.value) and why in str(caught.value)
    assert ONE not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        pytest.param({}, "http://config", id="from the file"),
        pytest.param({"URL": "http://environment"}, "http://environment", id="the environment goes first"),
        pytest.param({"URL": ""}, "http://config", id="but not when it is empty"),
    ],
)
def test_a_providers_address_may_come_from_the_environment(environ: Mapping[str, str], url: str) -> None:
    assert ProviderConfig(adapter="openai", base_url="http://config", base_url_env="URL").url(environ) == url


def test_a_providers_key_comes_from_a_variable_or_a_file_that_may_change(tmp_path: Path) -> None:
    provider = ProviderConfig(adapter="openai", api_key_env="KEY")
    path = tmp_path / "key"
    path.write_text("from the file\n")
    assert provider.key({}) == "" and provider.key({"KEY": "k"}) == "k"
    assert provider.key({"KEY": "k", "KEY_FILE": str(path)}) == "from the file"
    path.write_text("rotated")
    assert provider.key({"KEY_FILE": str(path)}) == "rotated"
    assert ProviderConfig(adapter="openai").key({"": "x"}) == ""


@pytest.mark.parametrize("variables", [{"slots": 0}, {"slots": "many"}, {"grace_s": -1}, {"log_level": "loud"}])
def test_a_variable_that_makes_no_sense_is_refused(variables: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        environment(**variables)
