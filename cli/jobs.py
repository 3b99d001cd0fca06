"""`gateway jobs`: what is under way, what became of one, and calling one off."""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer
from rich.table import Table

from cli.asking import HomeFolder, Key, Url, ask
from cli.client import Client
from cli.screen import Screen, cost


def jobs(
    job: Annotated[str, typer.Argument(help="Show this job with its timeline.")] = "",
    cancel: Annotated[str, typer.Option(metavar="ID", help="Call this job off.")] = "",
    state: Annotated[str, typer.Option(help="List only jobs in this state.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many to list.")] = 20,
    url: Url = "",
    key: Key = "",
    home: HomeFolder = None,
) -> None:
    """List jobs, the newest first; or show one; or cancel one."""

    async def work(client: Client) -> None:
        screen = Screen()
        if cancel:
            answer, _ = await client.call("DELETE", f"/v1/jobs/{quote(cancel, safe='')}")
            screen.line(f"{cancel} is {answer.get('state', 'cancelled')}")
        elif job:
            answer, _ = await client.call("GET", f"/v1/jobs/{quote(job, safe='')}")
            _show(screen, answer)
        else:
            query = urlencode({"limit": limit} | ({"state": state} if state else {}))
            answer, _ = await client.call("GET", f"/v1/jobs?{query}")
            _list(screen, answer["data"])

    ask(url, key, home, work)


def _show(screen: Screen, job: dict[str, Any]) -> None:
    screen.line(f"{job['id']} is {job['state']}{_place(job)}; {cost(job)}")
    screen.timeline(job["timeline"])
    if error := job.get("error"):
        screen.line(f"  {error['message']} ({error['code']})", style="red")


def _place(job: dict[str, Any]) -> str:
    return "" if job.get("position") is None else f", {job['position']} ahead of it"


def _list(screen: Screen, found: list[dict[str, Any]]) -> None:
    if not found:
        screen.line("no jobs")
        return
    table = Table("job", "state", "model", "age", box=None, pad_edge=False)
    for job in found:
        age_s = max(0, time.time() - job["created"])
        table.add_row(job["id"], job["state"], job.get("model") or "", f"{age_s:.0f} s")
    screen.out.print(table)
