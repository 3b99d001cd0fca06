"""What was used and what it cost, as /v1/usage and the command tell it."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.crowd import Trio, key_id
from tests.acceptance.gateway import asked, chat, eventually, refused
from tests.acceptance.test_budgets import ONE, told_by_the_upstream

USAGE = "/v1/usage"
ROOT = Path(__file__).resolve().parent.parent.parent


def usage(http: httpx.Client, **query: str) -> dict[str, Any]:
    body: dict[str, Any] = asked(http.get(USAGE, params=query))
    return body


def test_the_usage_is_what_the_provider_billed_booked_or_not(trio: Trio) -> None:
    model, part = trio.paid("e")
    keys = [trio.key(tenant="books", tags={"team": team}) for team in ("red", "blue")]
    for key in keys:
        assert {reply.status for reply in trio.ask(key, [chat(model)] * 10)} == {200}
    with trio.gateway.http(keys[0]) as http:
        whole = usage(http)
        assert Decimal(whole["total"]["cost_usd"]) == told_by_the_upstream(part) == 20 * ONE
        assert (whole["total"]["requests"], whole["total"]["prompt_tokens"]) == (20, 220)
        eventually(
            lambda: trio.gateway.stack.client().xinfo_stream("gw:ledger:rows")["last-generated-id"],  # type: ignore[index]
            lambda last: trio.gateway.stack.client().get("gw:usage:booked") == last,
        )
        assert usage(http)["total"] == whole["total"], "booking changes nothing"
        by = usage(http, group_by="key,model,provider,tag")["data"]
        assert sorted((row["key"], row["tag"]) for row in by) == sorted(
            zip([key_id(key) for key in keys], ["team=red", "team=blue"], strict=True)
        )
        assert {(row["model"], row["provider"], row["requests"]) for row in by} == {(model, "openai", 10)}
        assert usage(http, tag="team=red")["total"]["requests"] == 10
        assert usage(http, tag="team")["total"]["requests"] == 20
        assert usage(http, model="another")["data"] == []
        assert usage(http, **{"from": "2020-01-01", "to": "2020-01-31"})["total"]["requests"] == 0
        rows = list(csv.DictReader(io.StringIO(http.get(USAGE, params={"format": "csv", "group_by": "key"}).text)))
        assert [row["requests"] for row in rows] == ["10", "10"]
        assert sum(Decimal(row["cost_usd"]) for row in rows) == 20 * ONE


def test_a_user_sees_its_tenant_and_an_admin_all(trio: Trio) -> None:
    mine, other = trio.key(tenant="mine"), trio.key(tenant="others")
    model, _ = trio.gateway.model()
    for key in (mine, other):
        trio.ask(key, [chat(model)])
    with trio.gateway.http(mine) as http:
        assert {row["tenant"] for row in usage(http, group_by="tenant")["data"]} == {"mine"}
        refused(http.get(USAGE, params={"tenant": "others"}), 403)
    with trio.admin() as http:
        assert {"mine", "others"} <= {row["tenant"] for row in usage(http, group_by="tenant")["data"]}
        assert usage(http, tenant="others")["total"]["requests"] == 1


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-13-01"}, "to"),
        ({"from": "2026-01-01", "to": "2026-12-31"}, "from"),
        ({"from": "2026-02-01", "to": "2026-01-01"}, "from"),
        ({"group_by": "colour"}, "group_by"),
        ({"group_by": "day,day"}, "group_by"),
        ({"format": "xml"}, "format"),
    ],
)
def test_a_question_that_is_none_is_refused_with_its_place(trio: Trio, query: dict[str, str], param: str) -> None:
    with trio.admin() as http:
        assert refused(http.get(USAGE, params=query), 400)["param"] == param


def command(trio: Trio, *arguments: str, key: str = "") -> str:
    environ = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "GATEWAY_URL": trio.gateway.url,
        "GATEWAY_API_KEY": key or trio.gateway.admin_key,
    }
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_makes_lists_rotates_and_revokes_keys_and_shows_the_usage(trio: Trio) -> None:
    made = command(
        trio, "keys", "create", "shop", "--tenant", "shell", "--rpm", "5", "--day-usd", "1.5", "--model", "gpt-4*",
        "--tag", "team=a", "--expires-in", "30d",
    ).strip()  # fmt: skip
    with trio.admin() as http:
        shown = asked(http.get(f"/v1/admin/keys/{key_id(made)}"))
    assert (shown["limits"]["requests_per_minute"], shown["budget"]["day_usd"], shown["tags"]) == (
        5,
        "1.5",
        {"team": "a"},
    )
    assert shown["models"] == ["gpt-4*"] and shown["expires"] > shown["created"]
    rotated = command(trio, "keys", "rotate", key_id(made), "--grace", "1h").strip()
    model, _ = trio.paid("e")
    assert trio.ask(rotated, [chat(model, max_completion_tokens=9)])[0].status == 200
    assert "shell" in command(trio, "keys", "list", "--tenant", "shell")
    told = command(trio, "usage", "--by", "key", key=rotated)
    assert key_id(made) in told and "total" in told
    assert "is revoked" in command(trio, "keys", "revoke", rotated)
