"""`gateway keys`: who may use the gateway, and how much of it."""

from __future__ import annotations

import contextlib
import time
from typing import Annotated
from urllib.parse import quote, urlencode

import redis
import typer
from rich.table import Table

from cli import allowed
from cli.allowed import (
    Allowed,
    Concurrent,
    DayUsd,
    MonthUsd,
    Rpm,
    SoftDayUsd,
    SoftMonthUsd,
    Tpm,
    lifted,
    listing,
)
from cli.asking import HomeFolder, Key, Url, ask
from cli.client import Client
from cli.errors import Unable, Unreachable
from cli.screen import Document, Screen
from mesh import store
from mesh.settings import Environment
from web import auth
from web.keys import LONGEST_NAME

app = typer.Typer(
    help="API keys: who may use the gateway, and how much of it. All but `mint` need an admin's key.",
    no_args_is_help=True,
)

KEYS = "/v1/admin/keys"
_UNITS = {"m": 60, "h": 3_600, "d": 86_400}
LIFTS = {
    **allowed.LIFTS,
    "model": "models", "provider": "providers", "priority": "priorities", "tag": "tags", "expires-in": "expires",
}  # fmt: skip

Models = Annotated[list[str] | None, typer.Option("--model", help="A model it may ask; gpt-4* for all that begin so.")]
Providers = Annotated[list[str] | None, typer.Option("--provider", help="A provider that may answer it.")]
Priorities = Annotated[
    list[str] | None, typer.Option("--priority", help="A class of lane it may use: interactive or batch.")
]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="Stands by its jobs in the ledger.")
]
ExpiresIn = Annotated[str, typer.Option(metavar="30d", help="It is refused after so many m, h or d.")]
KeyId = Annotated[str, typer.Argument(help="The key's id, or the key.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="For people.")] = "",
    tenant: Annotated[str, typer.Option(help="Whose it is.")] = "default",
    admin: Annotated[bool, typer.Option("--admin", help="It may do everything.")] = False,
    private: Annotated[bool, typer.Option("--private", help="All that it asks is private.")] = False,
    model: Models = None,
    provider: Providers = None,
    priority: Priorities = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrent: Concurrent = None,
    day_usd: DayUsd = None,
    month_usd: MonthUsd = None,
    soft_day_usd: SoftDayUsd = None,
    soft_month_usd: SoftMonthUsd = None,
    tag: Tags = None,
    expires_in: ExpiresIn = "",
    url: Url = "",
    key: Key = "",
    home: HomeFolder = None,
) -> None:
    """Make a key and print it. It is told only now."""
    said = Allowed(rpm, tpm, concurrent, day_usd, month_usd, soft_day_usd, soft_month_usd)
    body: Document = {
        "name": name,
        "tenant": tenant,
        "role": "admin" if admin else "user",
        "private": private,
        "models": model or None,
        "providers": provider or None,
        "priorities": priority or None,
        **said.over({}),
        "tags": _tags(tag),
        "expires": _after(expires_in),
    }

    async def make(client: Client) -> None:
        made, _ = await client.call("POST", KEYS, body)
        Screen().line(made["key"])

    ask(url, key, home, make)


@app.command()
def mint(name: Annotated[str, typer.Argument(help="For people.")] = "first key") -> None:
    """Make an admin's key in the Redis that REDIS_URL names, and print it: the first, or one more when it was lost."""
    if len(name) > LONGEST_NAME:
        raise Unable(f"NAME: at most {LONGEST_NAME} characters")
    try:
        client = store.connect(Environment().redis_url)
    except ValueError as error:
        raise Unable(f"The environment's variables cannot be used: {error}") from error
    try:
        with contextlib.closing(client):
            key = auth.mint(client, role="admin", name=name)
    except (redis.ResponseError, redis.AuthenticationError) as error:
        raise Unable(f"The Redis of REDIS_URL refuses: {error}") from error
    except (redis.RedisError, OSError) as error:
        raise Unreachable(f"The Redis of REDIS_URL does not answer: {error}") from error
    Screen().line(key)


@app.command(name="list")
def list_keys(
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    url: Url = "",
    key: Key = "",
    home: HomeFolder = None,
) -> None:
    """Every key, the newest first."""

    async def tell(client: Client) -> None:
        found, _ = await client.call("GET", f"{KEYS}?{urlencode({'tenant': tenant})}")
        table = Table("id", "name", "tenant", "role", "state", "used", box=None, pad_edge=False)
        for each in found["data"]:
            table.add_row(each["id"], each["name"], each["tenant"], each["role"], _state(each), _ago(each["used"]))
        Screen().out.print(table)

    ask(url, key, home, tell)


@app.command()
def show(key_id: KeyId, url: Url = "", key: Key = "", home: HomeFolder = None) -> None:
    """What a key allows."""

    async def tell(client: Client) -> None:
        found, _ = await client.call("GET", _place(key_id))
        Screen().out.print(listing(found))

    ask(url, key, home, tell)


@app.command()
def change(
    key_id: KeyId,
    name: Annotated[str | None, typer.Option(help="For people.")] = None,
    admin: Annotated[bool | None, typer.Option("--admin/--user", help="Whether it may do everything.")] = None,
    private: Annotated[bool | None, typer.Option("--private/--open", help="Whether all it asks is private.")] = None,
    model: Models = None,
    provider: Providers = None,
    priority: Priorities = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrent: Concurrent = None,
    day_usd: DayUsd = None,
    month_usd: MonthUsd = None,
    soft_day_usd: SoftDayUsd = None,
    soft_month_usd: SoftMonthUsd = None,
    tag: Tags = None,
    expires_in: ExpiresIn = "",
    lift: Annotated[list[str] | None, typer.Option(metavar="rpm", help=f"No longer: {', '.join(LIFTS)}.")] = None,
    url: Url = "",
    key: Key = "",
    home: HomeFolder = None,
) -> None:
    """Change what is named and nothing else; it holds everywhere within a second."""
    gone = lifted(lift, LIFTS)
    said = Allowed(rpm, tpm, concurrent, day_usd, month_usd, soft_day_usd, soft_month_usd)
    simple: Document = {
        "name": name,
        "role": None if admin is None else "admin" if admin else "user",
        "private": private,
        "models": model or None,
        "providers": provider or None,
        "priorities": priority or None,
        "expires": _after(expires_in),
    }
    fresh = _tags(tag)

    async def tell(client: Client) -> None:
        now, _ = await client.call("GET", _place(key_id))
        body = {what: value for what, value in simple.items() if value is not None or what in gone}
        tags = fresh if "tags" in gone else now["tags"] | fresh
        changed, _ = await client.call("POST", _place(key_id), {**body, "tags": tags, **said.over(now, gone)})
        Screen().out.print(listing(changed))

    ask(url, key, home, tell)


@app.command()
def rotate(
    key_id: KeyId,
    grace: Annotated[str, typer.Option(metavar="1h", help="How long the old one is still taken.")] = "",
    url: Url = "",
    key: Key = "",
    home: HomeFolder = None,
) -> None:
    """Give a key a new secret and print it."""
    body = {"grace_s": _seconds(grace)} if grace else {}

    async def turn(client: Client) -> None:
        made, _ = await client.call("POST", f"{_place(key_id)}/rotate", body)
        Screen().line(made["key"])

    ask(url, key, home, turn)


@app.command()
def revoke(key_id: KeyId, url: Url = "", key: Key = "", home: HomeFolder = None) -> None:
    """Refuse a key for ever, everywhere within a second."""

    async def end(client: Client) -> None:
        gone, _ = await client.call("DELETE", _place(key_id))
        Screen().line(f"{gone['id']} is revoked")

    ask(url, key, home, end)


def _place(key: str) -> str:
    key_id = key.split("-")[1] if key.startswith("gw-") and key.count("-") == 2 else key
    return f"{KEYS}/{quote(key_id, safe='')}"


def _tags(texts: list[str] | None) -> dict[str, str]:
    tags = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Unable(f"--tag {text}: expected NAME=VALUE")
        tags[name] = value
    return tags


def _after(span: str) -> int | None:
    """The moment that comes after this span; None where there is none."""
    return int(time.time()) + _seconds(span) if span else None


def _seconds(text: str) -> int:
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdigit():
        raise Unable(f"{text}: expected a number with m, h or d behind it, such as 30d")
    return int(number) * _UNITS[unit]


def _state(each: Document) -> str:
    if each["revoked"] is not None:
        return "revoked"
    return "expired" if each["expires"] is not None and each["expires"] <= time.time() else "valid"


def _ago(unix_s: int | None) -> str:
    return "never" if unix_s is None else f"{max(0, time.time() - unix_s) / 60:.0f} min ago"
