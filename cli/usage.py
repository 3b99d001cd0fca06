"""`gateway usage`: who used what, and what it cost."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

import typer
from rich.table import Table

from cli.asking import HomeFolder, Key, Url, ask
from cli.client import Client
from cli.screen import Document, Screen

_SUMS = ("requests", "prompt_tokens", "completion_tokens", "cost_usd", "unknown_attempts")


def usage(
    by: Annotated[str, typer.Option(help="Some of day,tenant,key,model,provider,tag.")] = "day",
    since: Annotated[str, typer.Option("--from", metavar="DATE", help="The first day; 30 days before the last.")] = "",
    until: Annotated[str, typer.Option("--to", metavar="DATE", help="The last day; today.")] = "",
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="tenant=acme", help="Or a key, model, provider or tag."),
    ] = None,
    url: Url = "",
    key: Key = "",
    home: HomeFolder = None,
) -> None:
    """Show what was used; an admin sees every tenant."""
    filters = dict(each.partition("=")[::2] for each in only or ())
    query = {"group_by": by, "from": since, "to": until, **filters}

    async def report(client: Client) -> None:
        found, _ = await client.call(
            "GET", f"/v1/usage?{urlencode({name: query[name] for name in query if query[name]})}"
        )
        _show(found, [name.strip() for name in by.split(",")])

    ask(url, key, home, report)


def _show(report: Document, groups: list[str]) -> None:
    table = Table(*groups, *(name.replace("_", " ") for name in _SUMS), box=None, pad_edge=False)
    rows: list[Document] = [*report["data"], {groups[0]: "total", **report["total"]}]
    for row in rows:
        table.add_row(*(str(row.get(name, "")) for name in (*groups, *_SUMS)))
    Screen().out.print(table)
