"""The options by which a command finds a running gateway, and asking it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from cli import environment
from cli.client import Client, address
from cli.errors import Interrupted

Url = Annotated[str, typer.Option(help="Base URL of a gateway; else GATEWAY_URL, or the one that runs in --home.")]
Key = Annotated[str, typer.Option(help="API key; else GATEWAY_API_KEY, or the key file in --home.")]
HomeFolder = Annotated[Path | None, typer.Option("--home", help="Where `gateway up` keeps its state.")]


def ask(
    url: str, key: str, home: Path | None, work: Callable[[Client], Awaitable[None]], *, stopped: str = "stopped"
) -> None:
    """Do this with a client of the gateway that the options name.

    stopped: what Ctrl-C meant.
    """
    base, secret = address(url, key, home, environment.current())

    async def whole() -> None:
        async with Client(base, secret) as client:
            await work(client)

    try:
        asyncio.run(whole())
    except KeyboardInterrupt as error:
        raise Interrupted(stopped) from error
