"""How long one core takes for texts of 1,000 to 2,000 characters: `taskset -c 0 python -m guardrails.training.speed`.

The texts are made here: harmless ones, and the same with an attack in them, so that everybody measures the same.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from pathlib import Path

from guardrails.detectors import grey
from guardrails.guard import Finder, Guard
from guardrails.metrics import percentile
from guardrails.personal import PersonalData
from guardrails.training.generated import Phrases, strange
from guardrails.training.trial import policy
from guardrails.verdicts import Stage

SHORTEST, LONGEST = 1_000, 2_000  # characters
WARM = 50  # texts
_KINDS = ("code", "markup", "json", "log", "long")


def texts(count: int, seed: int = 0) -> list[str]:
    """Every third holds an attack, every third a harmless request, and every third nothing but itself."""
    dice = random.Random(seed)
    phrases = Phrases(dice)
    openings = [[row.text for row in phrases.orders(200)], [row.text for row in phrases.harmless(200)], [""]]
    around = _pieces(dice)
    made: list[str] = []
    while len(made) < count:
        text = dice.choice(openings[len(made) % 3])
        while len(text) < SHORTEST:
            text += f"\n{next(around)}"
        made.append(text[: dice.randrange(SHORTEST, LONGEST)])
    return made


def _pieces(dice: random.Random) -> Iterator[str]:
    while True:
        rows = [row.text for row in strange(dice, 20, half=1) if row.source.rpartition(":")[2] in _KINDS]
        dice.shuffle(rows)
        yield from rows


def took_ms(guard: Guard, several: list[str]) -> tuple[list[float], list[float]]:
    """Of each text, one after the other: what the clock says, and what the core worked, which other processes on the
    machine touch less."""
    clock, core = [], []
    for text in several:
        began, worked = time.perf_counter(), time.thread_time()
        guard.check(text, Stage.REQUEST)
        clock.append((time.perf_counter() - began) * 1e3)
        core.append((time.thread_time() - worked) * 1e3)
    return clock, core


def table(count: int) -> str:
    several = texts(count + WARM)
    first, several = several[:WARM], several[WARM:]
    sentences = grey.open_sentences(deadline_s=grey.DEADLINE_S)
    personal: Finder = PersonalData()
    settings: list[tuple[str, str, Finder | None]] = [
        ("content, without the sentence model", "off", None),
        ("content and personal data, without it", "off", personal),
        ("content, the sentence model in the grey zone", "grey-zone", None),
        ("content and personal data, the sentence model in the grey zone", "grey-zone", personal),
        ("content, the sentence model always", "always", None),
    ]
    lines = [
        "| what | texts | sentence model asked | too late | p50 ms | p99 ms | p50 of the core | p99 of the core |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, mode, finder in settings:
        if mode != "off" and sentences is None:
            continue
        guard = Guard(policy(mode), personal=finder, sentences=sentences)
        took_ms(guard, first)  # warms what is warm in a gateway
        before = (sentences.asked, sentences.missed) if sentences else (0, 0)
        clock, core = took_ms(guard, several)
        asked, late = (sentences.asked - before[0], sentences.missed - before[1]) if sentences else (0, 0)
        shown = " | ".join(f"{percentile(times, share):.1f}" for times in (clock, core) for share in (0.5, 0.99))
        lines.append(f"| {name} | {len(clock)} | {asked} | {late} | {shown} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1_000)
    parser.add_argument("--out", type=Path, help="a Markdown file for the table")
    arguments = parser.parse_args()
    found = table(arguments.texts)
    print(found)
    if arguments.out:
        arguments.out.write_text(f"# How long a text takes\n\n{found}\n")


if __name__ == "__main__":
    main()
