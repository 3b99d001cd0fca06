"""`gateway models`: what can be asked, and having a provider fetch more."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.table import Table

from cli.asking import HomeFolder, Key, Url, ask
from cli.client import Client
from cli.errors import Refused, Unreachable
from cli.screen import Document, Screen

LOOK_S = 0.5

app = typer.Typer(help="The models that can be asked.", invoke_without_command=True)


@app.callback()
def models(context: typer.Context, url: Url = "", key: Key = "", home: HomeFolder = None) -> None:
    """List the models that can be asked."""
    if context.invoked_subcommand is None:
        ask(url, key, home, _list)


@app.command()
def pull(
    model: Annotated[str, typer.Argument(help="The provider's own name of it.")],
    provider: Annotated[str, typer.Option("--provider", "-p", help="Who is to fetch it.")] = "ollama",
    url: Url = "",
    key: Key = "",
    home: HomeFolder = None,
) -> None:
    """Have a provider fetch a model, and follow it to its end. Needs an admin's key."""

    async def watch(client: Client) -> None:
        await _pull(client, provider, model)

    ask(url, key, home, watch, stopped=f"no longer watched; {provider} goes on")


async def _list(client: Client) -> None:
    screen = Screen()
    answer, _ = await client.call("GET", "/v1/models")
    if not answer["data"]:
        screen.line("no models")
        return
    table = Table("model", "provider", "context", box=None, pad_edge=False)
    for model in answer["data"]:
        window = model["gateway"]["context_window"]
        table.add_row(model["id"], model["owned_by"], f"{window:,}" if window else "")
    screen.out.print(table)


async def _pull(client: Client, provider: str, model: str) -> None:
    screen, said = Screen(), ""
    found, _ = await client.call("POST", "/v1/models/pull", {"provider": provider, "model": model})
    with screen.out.status("queued") as status:
        while found["state"] in ("queued", "running"):
            status.update(_far(found))
            if not screen.out.is_terminal and said != (said := _step(found)):
                screen.line(said)
            await asyncio.sleep(LOOK_S)
            found = await _look(client, found["id"])
    if error := found["error"]:
        raise Refused(f"{error['message']} ({error['code']})")
    screen.line(f"{provider} has {model}")


async def _look(client: Client, pull_id: str) -> Document:
    answer, _ = await client.call("GET", "/v1/models/pulls")
    for pull in answer["data"]:
        if pull["id"] == pull_id:
            found: Document = pull
            return found
    raise Unreachable("the gateway no longer knows of this pull")


def _step(pull: Document) -> str:
    """What the provider is at; each is one line where the output is no terminal."""
    waiting = "waiting for a worker" if pull["state"] == "queued" else "begun"
    return pull["status"] or waiting


def _far(pull: Document) -> str:
    total = pull["total_bytes"]
    if not total:
        return _step(pull)
    done = pull["completed_bytes"]
    return f"{_step(pull)}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB, {done / total:.0%}"
