"""`gateway chat`: one prompt, its answer streamed to the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.asking import HomeFolder, Key, Url, ask
from cli.client import Client
from cli.errors import Refused, Unreachable
from cli.screen import Screen

STREAM = "chat"


def chat(
    prompt: Annotated[str, typer.Argument(help="What to ask.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Which model to ask.")] = "smollm2:135m",
    url: Url = "",
    key: Key = "",
    home: HomeFolder = None,
) -> None:
    """Ask a model and stream its answer to the terminal."""

    async def talk(client: Client) -> None:
        await _talk(client, model, prompt)

    ask(url, key, home, talk, stopped="stopped; the job is cancelled")


async def _talk(client: Client, model: str, prompt: str) -> None:
    screen = Screen()
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": True}
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
