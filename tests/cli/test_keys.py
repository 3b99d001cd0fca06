"""`gateway keys` and `gateway tenants` against a running door: what they say is what the API then has."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from cli.errors import CommandError, Refused, Unable, Unreachable
from cli.main import commands
from tests.conftest import RedisServer, free_port
from tests.stack import Process, Stack

LIMITS = {"requests_per_minute": None, "tokens_per_minute": None, "concurrent": None}
BUDGET = {"day_usd": None, "month_usd": None, "soft_day_usd": None, "soft_month_usd": None}


class Terminal:
    """Somebody with an admin's key."""

    def __init__(self, web: Process, key: str) -> None:
        self.http = httpx.Client(base_url=web.url, headers={"Authorization": f"Bearer {key}"})
        self._environment = {"GATEWAY_URL": web.url, "GATEWAY_API_KEY": key, "COLUMNS": "200"}

    def says(self, *words: str) -> str:
        """What is printed; a refusal is raised as it is."""
        done = CliRunner().invoke(commands, words, env=self._environment)
        if isinstance(done.exception, CommandError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output.strip()

    def key(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/v1/admin/keys/{key.split('-')[1]}").json()
        return found

    def tenant(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/v1/admin/tenants/{name}").json()
        return found


@pytest.fixture(scope="module")
def terminal(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    shared_redis.admin().flushall()
    stack = Stack(shared_redis, tmp_path_factory.mktemp("keys"), providers=("ollama",))
    try:
        somebody = Terminal(stack.start_web(), stack.key())
        with somebody.http:
            yield somebody
    finally:
        stack.stop()


def test_a_key_has_what_its_command_named(terminal: Terminal) -> None:
    key = terminal.says(
        "keys", "create", "shop", "--tenant", "acme", "--rpm", "60", "--day-usd", "1.5", "--soft-month-usd", "0",
        "--model", "gpt-4*", "--priority", "batch", "--tag", "team=a", "--expires-in", "30d",
    )  # fmt: skip
    made = terminal.key(key)
    assert made["limits"] == LIMITS | {"requests_per_minute": 60}
    assert made["budget"] == BUDGET | {"day_usd": "1.5", "soft_month_usd": "0.0"}
    assert (made["name"], made["tenant"], made["models"], made["priorities"]) == ("shop", "acme", ["gpt-4*"], ["batch"])
    assert made["tags"] == {"team": "a"} and abs(made["expires"] - time.time() - 30 * 86_400) < 60
    assert "acme" in terminal.says("keys", "list", "--tenant", "acme")
    shown = terminal.says("keys", "show", key)
    assert "limits.requests_per_minute  60" in shown and "tags.team" in shown and "tokens_per_minute" not in shown


def test_a_change_leaves_what_it_does_not_name(terminal: Terminal) -> None:
    key = terminal.says("keys", "create", "--rpm", "5", "--tpm", "900", "--provider", "ollama", "--tag", "a=1")
    terminal.says("keys", "change", key, "--rpm", "7", "--month-usd", "9", "--name", "new", "--tag", "b=2", "--private")
    changed = terminal.key(key)
    assert changed["limits"] == LIMITS | {"requests_per_minute": 7, "tokens_per_minute": 900}
    assert changed["budget"] == BUDGET | {"month_usd": "9.0"}
    assert (changed["name"], changed["private"], changed["providers"]) == ("new", True, ["ollama"])
    assert changed["tags"] == {"a": "1", "b": "2"}


def test_what_is_lifted_is_no_more(terminal: Terminal) -> None:
    key = terminal.says("keys", "create", "--rpm", "5", "--tpm", "9", "--model", "m", "--tag", "a=1", "--admin")
    lifts = [word for name in ("rpm", "model", "tag", "expires-in") for word in ("--lift", name)]
    terminal.says("keys", "change", key, *lifts, "--user", "--tag", "c=3")
    changed = terminal.key(key)
    assert changed["limits"] == LIMITS | {"tokens_per_minute": 9}
    assert (changed["models"], changed["tags"], changed["role"]) == (None, {"c": "3"}, "user")


def test_a_tenant_is_shown_and_changed(terminal: Terminal) -> None:
    assert terminal.says("tenants", "set", "owl", "--tpm", "5000", "--month-usd", "20") == (
        "owl: tokens_per_minute 5000, month_usd 20.0"
    )
    terminal.says("tenants", "set", "owl", "--concurrent", "3", "--lift", "tpm")
    assert terminal.tenant("owl")["limits"] == LIMITS | {"concurrent": 3}
    assert terminal.tenant("owl")["budget"] == BUDGET | {"month_usd": "20.0"}
    assert "limits.concurrent  3" in terminal.says("tenants", "show", "owl")
    assert "concurrent 3, month_usd 20.0" in terminal.says("tenants", "list")
    assert terminal.says("tenants", "set", "owl", "--lift", "concurrent", "--lift", "month-usd").endswith("its own")


def test_a_rotated_and_a_revoked_key_are_told(terminal: Terminal) -> None:
    old = terminal.says("keys", "create")
    new = terminal.says("keys", "rotate", old, "--grace", "1h")
    assert new != old and terminal.key(new)["old_until"] - terminal.key(new)["rotated"] == 3_600
    assert "is revoked" in terminal.says("keys", "revoke", new)
    assert terminal.key(new)["revoked"] is not None


def test_the_first_key_needs_no_other(
    terminal: Terminal, shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", shared_redis.url)
    monkeypatch.setenv("GATEWAY_API_KEY", "")
    key = terminal.says("keys", "mint", "operator")
    assert terminal.key(key) | {"name": "operator", "role": "admin", "tenant": "default"} == terminal.key(key)


@pytest.mark.parametrize(
    ("redis_url", "error", "said"),
    [
        pytest.param("redis://:secret@127.0.0.1:{nobody}/0", Unreachable, "does not answer", id="nobody there"),
        pytest.param("redis://gw:secrets@127.0.0.1:{redis}/0", Unable, "refuses", id="another password"),
        pytest.param("http://127.0.0.1:{nobody}", Unable, "REDIS_URL: ", id="no Redis"),
    ],
)
def test_a_redis_that_is_not_there_makes_no_key(
    terminal: Terminal,
    shared_redis: RedisServer,
    redis_url: str,
    error: type[CommandError],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url.format(nobody=free_port(), redis=shared_redis.port))
    with pytest.raises(error) as caught:
        terminal.says("keys", "mint")
    assert said in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        pytest.param(("keys", "mint", "x" * 257), Unable, "NAME: at most 256 characters", id="a long name"),
        pytest.param(("keys", "change", "abc", "--rpm", "5"), Refused, "There is no key 'abc'", id="no such key"),
        pytest.param(("keys", "change", "abc", "--lift", "wings"), Unable, "--lift wings: expected one of", id="lift"),
        pytest.param(("keys", "create", "--priority", "fast"), Refused, "priorities", id="no such lane"),
        pytest.param(("keys", "create", "--tag", "team"), Unable, "expected NAME=VALUE", id="no tag"),
        pytest.param(("keys", "create", "--expires-in", "soon"), Unable, "such as 30d", id="no span"),
        pytest.param(("tenants", "set", "two words", "--rpm", "5"), Refused, "a tenant's name is", id="no name"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    terminal: Terminal, words: tuple[str, ...], error: type[CommandError], said: str
) -> None:
    with pytest.raises(error) as caught:
        terminal.says(*words)
    assert said in str(caught.value)
