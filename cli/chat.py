"""`gateway chat`: one prompt, its answer streamed to the terminal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from cli import environment
from cli.client import Client, address
from cli.errors import Interrupted, Refused, Unreachable
from cli.screen import Screen

STREAM = "chat"
Url = Annotated[str, typer.Option(help="Base URL of a gateway; else GATEWAY_URL, or the one that runs in --home.")]
Key = Annotated[str, typer.Option(help="API key; else GATEWAY_API_KEY, or the key file in --home.")]
HomeFolder = Annotated[Path | None, typer.Option("--home", help="Where `gateway up` keeps its state.")]


def chat(
    prompt: Annotated[str, typer.Argument(help="What to ask.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Which model to ask.")] = "smollm2:135m",
    url: Url = "",
    key: Key = "",
    home: HomeFolder = None,
) -> None:
    """Ask a model and stream its answer to the terminal."""
    base, secret = address(url, key, home, environment.current())
    try:
        asyncio.run(_ask(base, secret, model, prompt))
    except KeyboardInterrupt as error:
        raise Interrupted("stopped; the job is cancelled") from error


async def _ask(url: str, key: str, model: str, prompt: str) -> None:
    screen = Screen()
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": True}
    async with Client(url, key) as client:
        waiting = screen.out.status("sent") if screen.out.is_terminal else None
        if waiting:
            waiting.start()
        try:
            async for frame in client.frames({"type": "chat.create", "stream_id": STREAM, "body": body}):
                kind = frame.get("type")
                if kind == "job.queued" and waiting:
                    waiting.update(_place(frame))
                elif kind == "chunk":
                    if waiting:
                        waiting.stop()
                    for choice in frame["data"]["choices"]:
                        screen.piece(choice["delta"].get("content") or "")
                elif kind == "job.done":
                    screen.line()
                    return
                elif kind == "error":
                    raise Refused(_message(frame))
        finally:
            if waiting:
                waiting.stop()
    raise Unreachable("the gateway closed the connection before the answer was whole")


def _place(frame: dict[str, object]) -> str:
    position, eta_ms = frame.get("position"), frame.get("eta_ms")
    if not isinstance(position, int):
        return "waiting"
    ahead = f"{position} ahead of you" if position else "next in the queue"
    return f"{ahead}, about {eta_ms / 1000:.0f} s" if isinstance(eta_ms, int | float) else ahead


def _message(frame: dict[str, object]) -> str:
    error = frame.get("error", frame)
    return f"{error.get('message')} ({error.get('code')})" if isinstance(error, dict) else str(error)
