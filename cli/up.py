"""`gateway up`: the whole gateway on this machine, in the foreground."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from cli import config, environment, greeting, live, parts
from cli.embedded import packages, valkey
from cli.environment import Surroundings
from cli.errors import Interrupted, PartFailed, Unable
from cli.home import Home
from cli.processes import Part, Supervisor, all_or_first_failure
from cli.screen import Screen
from mesh import store
from web import auth

METRICS_PORT = 9090


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the command line asked for."""

    home: Home
    surroundings: Surroundings
    port: int
    metrics_port: int | None
    workers: int
    redis_url: str
    model: bool


def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the gateway listens, on 127.0.0.1.")] = 8080,
    home: Annotated[
        Path | None, typer.Option(help="Where state is kept.", show_default=".gateway/ beside the code")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Web processes.")] = 1,
    redis_url: Annotated[str, typer.Option(help="Use this Redis instead of an embedded Valkey.")] = "",
    no_model: Annotated[bool, typer.Option("--no-model", help="Start no local model.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only what goes wrong.")] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Where Prometheus reads; 0: nowhere.", show_default=str(METRICS_PORT)),
    ] = None,
) -> None:
    """Start a whole gateway on this machine and serve until Ctrl-C."""
    surroundings = environment.current()
    wishes = Wishes(
        home=Home(home or surroundings.home),
        surroundings=surroundings,
        port=port,
        metrics_port=metrics_port,
        workers=workers,
        redis_url=redis_url,
        model=not no_model,
    )
    with wishes.home.held():
        asyncio.run(_run(wishes, Screen(quiet=quiet)))


async def _run(wishes: Wishes, screen: Screen) -> None:
    """Start, greet, serve, stop.

    Raises:
        Interrupted: a signal came before everything was ready.
        CommandError: whatever made it impossible.
    """
    plan = await _plan(wishes, screen)
    supervisor = Supervisor(parts.make(plan), screen.warn)
    serving = asyncio.create_task(_serve(plan, supervisor, screen))
    stopped = _stop_on_signals(serving.cancel, supervisor.hurry)
    try:
        await serving
    except asyncio.CancelledError:
        if not stopped():
            raise
        screen.line("stopping; Ctrl-C again to hurry")
        if not wishes.home.url.exists():
            raise Interrupted("stopped before it was ready") from None
    except PartFailed as error:
        if wishes.home.is_full():
            raise PartFailed(f"no room is left on the disk of {wishes.home.folder}. {error}") from error
        raise
    finally:
        await supervisor.stop()
    screen.line("stopped")


async def _plan(wishes: Wishes, screen: Screen) -> parts.Plan:
    embeds_store = not wishes.redis_url
    if embeds_store and (names := packages.missing(packages.STORE)):
        raise Unable(f"{_install(names)}; or give a Redis with --redis-url")
    if not embeds_store and not await parts.pings(wishes.redis_url):
        raise Unable("the Redis of --redis-url does not answer, or refuses its user or password")
    if not parts.becomes_free(wishes.port):
        raise Unable(f"port {wishes.port} is in use; stop what listens there or choose another with --port")
    ports = parts.Ports(
        door=wishes.port,
        metrics=_metrics_port(wishes, screen),
        valkey=parts.free_port(),
        model=parts.free_port(),
        front=parts.free_port(),
    )
    front = f"http://127.0.0.1:{ports.front}" if wishes.model else None
    configured = config.load(wishes.surroundings.config)
    found = await live.find(configured, wishes.surroundings.variables, front=front, answers=parts.answers)
    if found.embedded and (names := packages.missing(packages.MODEL)):
        raise Unable(f"{_install(names)}; or do without a local model with --no-model")
    for note in found.notes:
        screen.line(note)
    if not found.names:
        raise Unable("no provider is live: set OPENAI_API_KEY or OLLAMA_HOST, or leave --no-model out")
    redis_url = wishes.redis_url or valkey.url(ports.valkey, wishes.home.password)
    return parts.Plan(
        home=wishes.home,
        ports=ports,
        surroundings=wishes.surroundings,
        config=configured,
        live=found,
        redis_url=redis_url,
        embeds_store=embeds_store,
        workers=wishes.workers,
    )


def _install(names: list[str]) -> str:
    return f"not installed: {', '.join(names)}; `scripts/up` installs them from requirements.lock"


def _metrics_port(wishes: Wishes, screen: Screen) -> int:
    port = METRICS_PORT if wishes.metrics_port is None else wishes.metrics_port
    if port == 0 or parts.is_free(port):
        return port
    if wishes.metrics_port is None:
        screen.line(f"port {port} is in use, so there are no metrics; --metrics-port chooses another")
        return 0
    raise Unable(f"port {port} is in use; choose another with --metrics-port, or 0 for no metrics")


async def _serve(plan: parts.Plan, supervisor: Supervisor, screen: Screen) -> None:
    starting: list[str] = []
    with screen.out.status("starting") as status:

        def began(part: Part) -> None:
            starting.append(part.name)
            status.update(f"starting {', '.join(starting)}")

        def ready(part: Part, took_s: float) -> None:
            starting.remove(part.name)
            status.update(f"starting {', '.join(starting)}")
            screen.line(f"  {part.name:<7} ready after {took_s:.1f} s")

        screen.line(f"starting; state and logs are in {plan.home.folder}")
        await supervisor.start(began, ready)

    async def greet() -> None:
        key = await asyncio.to_thread(_first_key, plan)
        await greeting.ask(plan, key, screen)
        plan.home.write(plan.home.url, plan.ports.url)
        greeting.explain(plan, screen)

    await all_or_first_failure([supervisor.watch(), greet()])


def _first_key(plan: parts.Plan) -> str:
    """The key in the home folder if this Redis still knows it, or else a new one."""
    client = store.connect(plan.redis_url)
    try:
        key = plan.home.key.read_text().strip() if plan.home.key.exists() else ""
        if not key or not auth.known(client, key):
            key = auth.mint(client, role="admin", name="first key")
            plan.home.write(plan.home.key, key)
    finally:
        client.close()
    return key


def _stop_on_signals(stop: Callable[[], object], hurry: Callable[[], None]) -> Callable[[], bool]:
    """The first signal stops, a second one hurries; what is returned tells whether one has come."""
    came: list[int] = []

    def receive(number: int) -> None:
        came.append(number)
        if len(came) == 1:
            stop()
        else:
            hurry()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, receive, number)
    return lambda: bool(came)
