"""What the configuration makes of a web process, read anew when its file changes: whoever handles a request takes one
of these, and so sees one configuration from beginning to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mesh.settings import Config, Environment, parse_config
from routing.choose import Router


@dataclass(frozen=True, slots=True)
class Setup:
    config: Config
    live: Sequence[str]  # the providers that are served
    router: Router


def reader(environment: Environment) -> Callable[[str, str], Setup]:
    """What reads the file's text.

    Raises:
        ConfigError: with the file's name and each place that is wrong.
    """

    def read(text: str, name: str) -> Setup:
        config = parse_config(text, name)
        live = environment.live(config)
        return Setup(config, live, Router(config, live))

    return read


# What a running process cannot take up, and why.
FIXED: dict[str, Callable[[Config], object]] = {
    "providers: a new one needs a worker that serves its lane": lambda config: sorted(config.providers),
}


def waiting_for_restart(began: Config, now: Config) -> list[str]:
    """What has changed since the process began and is not in force in all of the gateway."""
    return [what for what, part in FIXED.items() if part(began) != part(now)]
