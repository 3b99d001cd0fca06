"""`gateway guard`: what the guardrails say of texts, without a gateway running."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import environment
from cli.errors import CommandError, Unable
from cli.screen import Screen
from guardrails import build, scan
from guardrails.evaluate import evaluate, tables
from guardrails.guard import Guard
from guardrails.training.rows import WrongRow, lines
from guardrails.verdicts import Action, Stage
from mesh.errors import ConfigError

app = typer.Typer(help="The guardrails: check texts, scan files, measure.", no_args_is_help=True)

_Policy = Annotated[Path | None, typer.Option("--policy", help="Default: guardrail-settings.yaml in GATEWAY_CONFIG.")]
_Stage = Annotated[Stage, typer.Option("--stage", help="Judge as a request or as an answer.")]


class Flagged(CommandError):
    """The text is one that would be refused."""

    exit_code = 1


class SomeLinesWrong(CommandError):
    """The good lines were scanned, others could not be read."""

    exit_code = 6


def _guard(policy: Path | None) -> Guard:
    path = policy or environment.current().config / build.FILE
    try:
        return build.build(build.read_policy(path), sentences=True)
    except ConfigError as error:
        raise Unable(str(error)) from error


@app.command()
def check(
    text: Annotated[str, typer.Argument(help="The text, or - for what comes on standard input.")],
    policy: _Policy = None,
    stage: _Stage = Stage.REQUEST,
) -> None:
    """Say what is found in one text and what would be done; the exit code is 1 when it would be refused."""
    guard = _guard(policy)
    value = sys.stdin.read() if text == "-" else text
    verdict = guard.check(value, stage)
    screen = Screen()
    screen.line(f"{verdict.action.value}{f': {verdict.category}' if verdict.category else ''}")
    for name, score in sorted(verdict.scores.items(), key=lambda item: -item[1]):
        if score >= 0.1 or name in verdict.flagged:
            screen.line(f"  {score:5.2f}  {name}{'  flagged' if name in verdict.flagged else ''}")
    for found in verdict.findings:
        screen.line(f"  {found.start}-{found.end}  {found.kind} ({found.detector})")
    if verdict.action is Action.BLOCK:
        raise typer.Exit(1)


@app.command(name="scan")
def scan_lines(policy: _Policy = None, stage: _Stage = Stage.REQUEST) -> None:
    """Read lines {id, text} of JSON and write one for each: scores, what is flagged, personal data, masked text."""
    guard = _guard(policy)
    wrong = 0
    # A byte that is no UTF-8 spoils its line's text, not the whole scan.
    stream = open(sys.stdin.fileno(), encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    for row, good in scan.lines(guard, stream, stage):
        wrong += not good
        sys.stdout.write(json.dumps(row, ensure_ascii=True) + "\n")
        sys.stdout.flush()
    if wrong:
        raise SomeLinesWrong(f"{wrong} of the lines could not be read; each has its error in the output")


@app.command(name="eval")
def evaluate_files(
    files: Annotated[
        list[Path], typer.Argument(help="JSONL, also gzipped: {text, label, maybe, source} or {text, spans}.")
    ],
    policy: _Policy = None,
    as_json: Annotated[bool, typer.Option("--json", help="Figures as one JSON object.")] = False,
) -> None:
    """Precision, recall, F1 and AUPRC by category, false alarms by source, personal data by type, latency."""
    guard = _guard(policy)
    screen = Screen()
    try:
        report = evaluate(guard, (row for file in files for _, row in lines(file)))
    except (OSError, WrongRow) as error:
        raise Unable(str(error)) from error
    if as_json:
        screen.line(json.dumps(dataclasses.asdict(report)))
        return
    for title, columns, cells in tables(report):
        screen.line(f"\n{title}\n", style="bold")
        widths = [max(len(row[i]) for row in (columns, *cells)) for i in range(len(columns))]
        for row in (columns, *cells):
            screen.line("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
