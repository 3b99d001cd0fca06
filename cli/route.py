"""`gateway route`: where a prompt would go, and why."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from cli.asking import HomeFolder, Key, Url, ask
from cli.client import Client
from cli.screen import Document, Screen


def route(
    prompt: Annotated[str, typer.Argument(help="What would be asked.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Which model or alias would be asked.")] = "smollm2:135m",
    private: Annotated[bool, typer.Option("--private", help="As a private request.")] = False,
    max_cost: Annotated[float, typer.Option(help="US dollars that it may cost; 0: no limit.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(help="Tokens that the answer may have; 0: not said.")] = 0,
    url: Url = "",
    key: Key = "",
    home: HomeFolder = None,
) -> None:
    """Say where a prompt would go and why, without sending it to a model."""
    body: Document = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    told = {"private": private, "max_cost": max_cost, "max_completion_tokens": max_tokens}
    body |= {name: value for name, value in told.items() if value}

    async def explain(client: Client) -> None:
        answer, _ = await client.call("POST", "/v1/route", body)
        _show(answer)

    ask(url, key, home, explain)


def _show(answer: Document) -> None:
    screen = Screen()
    screen.line(f"{answer['model']} goes to {' → '.join(answer['targets']) or 'nobody'} ({answer['line']})")
    table = Table("", "target", "as", "price", "time", "why", box=None, pad_edge=False)
    for each in answer["candidates"]:
        place = str(each["order"] + 1) if each["kept"] else "-"
        role = each["role"] if each["cause"] is None else f"on {each['cause']}"
        price = "unknown" if each["price_usd"] is None else f"{each['price_usd']} USD"
        why = f"{each['reason']}: {each['detail']}" if each["reason"] else ""
        table.add_row(place, f"{each['provider']}/{each['model']}", role, price, f"{each['eta_ms'] / 1000:.1f} s", why)
    screen.out.print(table)
    if error := answer["error"]:
        screen.line(f"  {error['message']} ({error['code']})", style="red")
