"""`gateway tenants`: what each tenant may use, all its keys together."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer
from rich.table import Table

from cli.allowed import (
    LIFTS,
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
    told,
)
from cli.asking import HomeFolder, Key, Url, ask
from cli.client import Client
from cli.screen import Screen

app = typer.Typer(help="Tenants: what all keys of one may use together. Needs an admin's key.", no_args_is_help=True)

TENANTS = "/v1/admin/tenants"
Name = Annotated[str, typer.Argument(help="The tenant's name.")]


@app.command(name="list")
def list_tenants(url: Url = "", key: Key = "", home: HomeFolder = None) -> None:
    """Every tenant that has a key or something of its own."""

    async def show(client: Client) -> None:
        found, _ = await client.call("GET", TENANTS)
        table = Table("tenant", "limits and budget", box=None, pad_edge=False)
        for each in found["data"]:
            table.add_row(each["tenant"], told(each))
        Screen().out.print(table)

    ask(url, key, home, show)


@app.command()
def show(tenant: Name, url: Url = "", key: Key = "", home: HomeFolder = None) -> None:
    """What a tenant has of its own."""

    async def tell(client: Client) -> None:
        found, _ = await client.call("GET", _place(tenant))
        Screen().out.print(listing(found))

    ask(url, key, home, tell)


@app.command(name="set")
def change(
    tenant: Name,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrent: Concurrent = None,
    day_usd: DayUsd = None,
    month_usd: MonthUsd = None,
    soft_day_usd: SoftDayUsd = None,
    soft_month_usd: SoftMonthUsd = None,
    lift: Annotated[list[str] | None, typer.Option(metavar="rpm", help=f"No longer: {', '.join(LIFTS)}.")] = None,
    url: Url = "",
    key: Key = "",
    home: HomeFolder = None,
) -> None:
    """Change what is named; it holds everywhere within a second. What is lifted is config's each_tenant again."""
    gone = lifted(lift, LIFTS)
    said = Allowed(rpm, tpm, concurrent, day_usd, month_usd, soft_day_usd, soft_month_usd)

    async def tell(client: Client) -> None:
        now, _ = await client.call("GET", _place(tenant))
        changed, _ = await client.call("POST", _place(tenant), said.over(now, gone))
        Screen().line(f"{changed['tenant']}: {told(changed)}")

    ask(url, key, home, tell)


def _place(tenant: str) -> str:
    return f"{TENANTS}/{quote(tenant, safe='')}"
