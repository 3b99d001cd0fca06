"""`gateway config`: the configuration files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import environment
from cli.errors import CommandError, Unable
from cli.screen import Screen
from mesh import settings
from mesh.errors import ConfigError
from workers.providers import parse

app = typer.Typer(help="The configuration files.", no_args_is_help=True)


class ConfigWrong(CommandError):
    """A configuration file has mistakes."""

    exit_code = 1


def load(folder: Path) -> settings.Config:
    """Raises:
    Unable: the file is missing or wrong.
    """
    try:
        return settings.load_config(folder)
    except ConfigError as error:
        raise Unable(str(error)) from error


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="Default: gateway-settings.yaml in GATEWAY_CONFIG.")] = None,
) -> None:
    """Say whether a configuration file can be used, and where each mistake is."""
    path = file or environment.current().config / "gateway-settings.yaml"
    try:
        config = parse(path.read_text(), str(path))
    except OSError as error:
        raise ConfigWrong(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigWrong(f"{path}: not UTF-8 at byte {error.start}") from error
    except ConfigError as error:
        name, _, places = str(error).partition(": ")
        raise ConfigWrong("\n  ".join([f"{name}:", *places.split("; ")])) from error
    enabled = [name for name, provider in config.providers.items() if provider.enabled]
    Screen().line(f"{path}: good; providers: {', '.join(enabled) or 'none'}")
