"""The guard of a web process where something is missing: a key, a file, the process for long texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from guardrails.texts import Text
from guardrails.verdicts import Action, Stage
from mesh import errors
from mesh.errors import ConfigError
from mesh.reload import Reloaded
from mesh.settings import SETTINGS, Environment
from web.guardian import Guardian, open_guardian
from web.setup import Setup, reader

QUIET = "jailbreak: {enabled: false}\nphi: {force_private: false}\n"
MASKING = QUIET + "pii: {EMAIL: {action: mask}}\n"
GATEWAY = """
provider_models: {outer: [a], inner: [b]}
providers:
  outer: {adapter: openai, base_url: "http://127.0.0.1:1"}
  inner: {adapter: openai, base_url: "http://127.0.0.1:1", private: true}
guard: {inline_chars: 20, deadline_ms: 30}
"""
WHO = {"tenant": "acme", "key": "k"}
LONG = [Text("a zorblatting text that is long", "user", "prompt")]


def opened(folder: Path, rules: str | None, *, key: str = "", live: tuple[str, ...] = ("outer", "inner")) -> Guardian:
    if rules is not None:
        (folder / "guardrail-settings.yaml").write_text(rules)
    return open_guardian(*_settings(folder, key, live))


def _settings(folder: Path, key: str, live: tuple[str, ...]) -> tuple[Environment, Reloaded[Setup]]:
    (folder / SETTINGS).write_text(GATEWAY)
    environment = Environment(config=folder, door_key=key, providers=",".join(live))
    return environment, Reloaded(folder / SETTINGS, reader(environment))


@pytest.mark.parametrize(
    ("rules", "live"),
    [
        pytest.param(MASKING, ("outer",), id="for all"),
        pytest.param(QUIET + "tenants: {acme: {pii: {EMAIL: {action: mask}}}}", ("outer",), id="for one tenant"),
        pytest.param(QUIET + "stages: {request: {pii: {SSN: {}}}}", ("outer", "inner"), id="at one stage"),
        pytest.param(MASKING + "mask_private_targets: true", ("inner",), id="for private providers too"),
    ],
)
def test_to_mask_without_a_key_is_refused_at_the_start(tmp_path: Path, rules: str, live: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"guardrail-settings.yaml: pii\.(EMAIL|SSN)\.action: .*GATEWAY_DOOR_KEY"):
        opened(tmp_path, rules, live=live)
    opened(tmp_path, rules, live=live, key="a:" + "22" * 32)


@pytest.mark.parametrize(
    ("rules", "live"),
    [
        pytest.param(MASKING, ("inner",), id="all are private"),
        pytest.param(QUIET + "pii: {EMAIL: {action: redact}}", ("outer",), id="nothing comes back"),
        pytest.param(QUIET + "pii: {EMAIL: {action: mask, strategy: full}}", ("outer",), id="nothing can be restored"),
        pytest.param(QUIET + "stages: {response: {pii: {EMAIL: {action: mask}}}}", ("outer",), id="only in answers"),
    ],
)
def test_no_key_is_asked_for_where_nothing_is_to_be_restored(tmp_path: Path, rules: str, live: tuple[str, ...]) -> None:
    opened(tmp_path, rules, live=live)


def test_a_folder_without_the_file_is_guarded_by_the_one_that_ships(tmp_path: Path) -> None:
    guardian = opened(tmp_path, None, key="a:" + "22" * 32)
    assert guardian.stance(Stage.REQUEST, **WHO).personal["EMAIL"].action is Action.MASK


def test_a_file_that_comes_later_is_taken_up_and_one_that_goes_stays_in_force(tmp_path: Path) -> None:
    guardian = opened(tmp_path, None, key="a:" + "22" * 32)
    file = tmp_path / "guardrail-settings.yaml"
    file.write_text("pii: {EMAIL: {action: blok}}")
    assert not guardian.rules.look() and str(file) in str(guardian.rules.refused)
    assert guardian.stance(Stage.REQUEST, **WHO).personal["EMAIL"].action is Action.MASK
    file.write_text(QUIET + "pii: {EMAIL: {action: block}}")
    assert guardian.rules.look() and guardian.state()["file"] == file.name and guardian.rules.path == file
    file.unlink()
    assert not guardian.rules.look() and str(file) in str(guardian.rules.refused)
    assert guardian.stance(Stage.REQUEST, **WHO).personal["EMAIL"].action is Action.BLOCK


def test_a_provider_that_an_edit_makes_public_is_refused_where_nothing_can_be_masked_for_it(tmp_path: Path) -> None:
    (tmp_path / "guardrail-settings.yaml").write_text(MASKING)
    environment, settings = _settings(tmp_path, "", ("inner",))
    guardian = open_guardian(environment, settings)
    assert guardian.stance(Stage.REQUEST, **WHO).personal
    (tmp_path / SETTINGS).write_text(GATEWAY.replace(", private: true", ""))
    assert not settings.look() and settings.current.config.providers["inner"].private
    refused = str(settings.refused)
    assert "providers.inner.private: " in refused and "GATEWAY_DOOR_KEY" in refused and "EMAIL" in refused
    (tmp_path / "guardrail-settings.yaml").write_text(QUIET)
    assert guardian.rules.look(), "now that nothing is masked"
    assert settings.look() and not settings.current.config.providers["inner"].private


def test_an_edit_that_needs_a_key_is_refused_too(tmp_path: Path) -> None:
    guardian = opened(tmp_path, QUIET)
    (tmp_path / "guardrail-settings.yaml").write_text(MASKING)
    assert not guardian.rules.look() and "GATEWAY_DOOR_KEY" in str(guardian.rules.refused)
    assert not guardian.stance(Stage.REQUEST, **WHO).personal


def test_patterns_that_may_take_long_are_not_searched_where_everybody_waits(tmp_path: Path) -> None:
    slow = "[" + ", ".join(f"'{word}.{{0,500}}z'" for word in ("aa", "ab", "ba", "bb")) + "]"
    short = [Text("a" * 8, "user", "prompt")]
    guardian = opened(tmp_path, f"{QUIET}categories: {{VIOLENCE: {{patterns: {slow}}}}}\n")  # and no process is started
    with pytest.raises(errors.Overloaded):
        guardian.judge(short, Stage.REQUEST, **WHO)
    (tmp_path / "guardrail-settings.yaml").write_text(f"{QUIET}categories: {{VIOLENCE: {{patterns: [aa.*z]}}}}\n")
    assert guardian.rules.look()
    assert guardian.judge(short, Stage.REQUEST, **WHO).verdict.action is Action.ALLOW


@pytest.mark.parametrize("fail", ["open", "closed"])
def test_what_cannot_be_judged_in_time_follows_the_policy_but_nothing_leaks(tmp_path: Path, fail: str) -> None:
    rules = f"{MASKING}fail: {fail}\ncategories: {{VIOLENCE: {{keywords: [zorblatting]}}}}\n"
    guardian = opened(tmp_path, rules, key="a:" + "22" * 32)  # and no process is started
    if fail == "open":
        assert guardian.judge(LONG, Stage.REQUEST, **WHO).verdict.action is Action.ALLOW
    else:
        with pytest.raises(errors.Overloaded) as refused:
            guardian.judge(LONG, Stage.REQUEST, **WHO)
        assert refused.value.code == "guard_unavailable" and refused.value.retry_after_s
    with pytest.raises(errors.Overloaded):
        guardian.hide(LONG, Stage.REQUEST, **WHO)
