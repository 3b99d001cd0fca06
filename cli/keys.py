"""`gateway keys`: who may use the gateway, and how much of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer
from rich.table import Table

from cli import environment
from cli.chat import HomeFolder, Key, Url
from cli.client import Client, address
from cli.errors import Unable
from cli.screen import Document, Screen

app = typer.Typer(
    help="API keys: who may use the gateway, and how much of it. Needs an admin's key.", no_args_is_help=True
)

KEYS = "/v1/admin/keys"
_UNITS = {"m": 60, "h": 3_600, "d": 86_400}

Rpm = Annotated[int, typer.Option("--rpm", min=0, help="Requests per minute.")]
Tpm = Annotated[int, typer.Option("--tpm", min=0, help="Tokens per minute.")]
Concurrent = Annotated[int, typer.Option("--concurrent", min=0, help="Jobs at once.")]
DayUsd = Annotated[float, typer.Option("--day-usd", min=0, help="Dollars a day, hard.")]
MonthUsd = Annotated[float, typer.Option("--month-usd", min=0, help="Dollars a month, hard.")]
Models = Annotated[list[str] | None, typer.Option("--model", help="A model it may ask; gpt-4* for all that begin so.")]
Providers = Annotated[list[str] | None, typer.Option("--provider", help="A provider that may answer it.")]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="Stands by its jobs in the ledger.")
]
KeyId = Annotated[str, typer.Argument(help="The key's id, or the key.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="For people.")] = "",
    tenant: Annotated[str, typer.Option(help="Whose it is.")] = "default",
    admin: Annotated[bool, typer.Option("--admin", help="It may do everything.")] = False,
    private: Annotated[bool, typer.Option("--private", help="All that it asks is private.")] = False,
    model: Models = None,
    provider: Providers = None,
    rpm: Rpm = 0,
    tpm: Tpm = 0,
    concurrent: Concurrent = 0,
    day_usd: DayUsd = 0,
    month_usd: MonthUsd = 0,
    tag: Tags = None,
    expires_in: Annotated[str, typer.Option(metavar="30d", help="It is refused after so many m, h or d.")] = "",
    url: Url = "",
    key: Key = "",
    home: HomeFolder = None,
) -> None:
    """Make a key and print it. It is told only now."""
    limits = {"requests_per_minute": rpm, "tokens_per_minute": tpm, "concurrent": concurrent}
    budget = {"day_usd": day_usd, "month_usd": month_usd}
    body: Document = {
        "name": name,
        "tenant": tenant,
        "role": "admin" if admin else "user",
        "private": private,
        "models": model or None,
        "providers": provider or None,
        "limits": {what: amount for what, amount in limits.items() if amount},
        "budget": {what: amount for what, amount in budget.items() if amount},
        "tags": dict(_tag(each) for each in tag or ()),
        "expires": int(time.time()) + _seconds(expires_in) if expires_in else None,
    }

    async def ask(client: Client, screen: Screen) -> None:
        made, _ = await client.call("POST", KEYS, body)
        screen.line(made["key"])

    _run(url, key, home, ask)


@app.command(name="list")
def list_keys(
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    url: Url = "",
    key: Key = "",
    home: HomeFolder = None,
) -> None:
    """Every key, the newest first."""

    async def ask(client: Client, screen: Screen) -> None:
        found, _ = await client.call("GET", f"{KEYS}?{urlencode({'tenant': tenant})}")
        table = Table("id", "name", "tenant", "role", "state", "used", box=None, pad_edge=False)
        for each in found["data"]:
            table.add_row(each["id"], each["name"], each["tenant"], each["role"], _state(each), _ago(each["used"]))
        screen.out.print(table)

    _run(url, key, home, ask)


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

    async def ask(client: Client, screen: Screen) -> None:
        made, _ = await client.call("POST", f"{_place(key_id)}/rotate", body)
        screen.line(made["key"])

    _run(url, key, home, ask)


@app.command()
def revoke(key_id: KeyId, url: Url = "", key: Key = "", home: HomeFolder = None) -> None:
    """Refuse a key for ever, everywhere within a second."""

    async def ask(client: Client, screen: Screen) -> None:
        gone, _ = await client.call("DELETE", _place(key_id))
        screen.line(f"{gone['id']} is revoked")

    _run(url, key, home, ask)


def _run(url: str, key: str, home: Any, ask: Callable[[Client, Screen], Awaitable[None]]) -> None:
    base, secret = address(url, key, home, environment.current())

    async def whole() -> None:
        async with Client(base, secret) as client:
            await ask(client, Screen())

    asyncio.run(whole())


def _place(key: str) -> str:
    key_id = key.split("-")[1] if key.startswith("gw-") and key.count("-") == 2 else key
    return f"{KEYS}/{quote(key_id, safe='')}"


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Unable(f"--tag {text}: expected NAME=VALUE")
    return name, value


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
