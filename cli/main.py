"""The `gateway` command: its sub-commands, and how it ends when one of them cannot be done."""

from __future__ import annotations

import importlib.metadata
import pkgutil
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli.errors import CommandError, Unable
from cli.screen import Screen

# Each is imported when it is asked for: all together they take a second.
COMMANDS = {
    "up": "cli.up:up",
    "chat": "cli.chat:chat",
    "jobs": "cli.jobs:jobs",
    "usage": "cli.usage:usage",
    "keys": "cli.keys:app",
    "tenants": "cli.tenants:app",
    "route": "cli.route:route",
    "models": "cli.models:app",
    "config": "cli.config:app",
    "guard": "cli.guard:app",
}


class _Commands(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, name: str) -> Any:
        if name not in COMMANDS:
            return None
        found = pkgutil.resolve_name(COMMANDS[name])
        if isinstance(found, typer.Typer):
            command: Any = typer.main.get_group(found)
        else:
            alone = typer.Typer(add_completion=False)
            alone.command()(found)
            command = typer.main.get_command(alone)
        command.name = name
        return command


commands = typer.Typer(
    cls=_Commands,
    help="A self-hosted AI gateway: one OpenAI-compatible API in front of every model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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
