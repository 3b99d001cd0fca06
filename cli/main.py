"""The `gateway` command: its sub-commands, and how it ends when one of them cannot be done."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Annotated

import typer

from cli import config, guard, keys, models, tenants
from cli.chat import chat
from cli.errors import CommandError, Unable
from cli.jobs import jobs
from cli.route import route
from cli.screen import Screen
from cli.up import up
from cli.usage import usage

commands = typer.Typer(
    help="A self-hosted AI gateway: one OpenAI-compatible API in front of every model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
commands.command()(up)
commands.command()(chat)
commands.command()(jobs)
commands.command()(usage)
commands.add_typer(keys.app, name="keys")
commands.add_typer(tenants.app, name="tenants")
commands.command()(route)
commands.add_typer(models.app, name="models")
commands.add_typer(config.app, name="config")
commands.add_typer(guard.app, name="guard")


def _version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        Screen().line(importlib.metadata.version("gateway"))
    except importlib.metadata.PackageNotFoundError as error:
        raise Unable("the package gateway is not installed here; `scripts/up` installs it") from error
    raise typer.Exit


@commands.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    pass


def app() -> None:
    """The console script's entry."""
    try:
        commands()
    except CommandError as error:
        Screen().fail(str(error))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    app()
