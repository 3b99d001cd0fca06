"""Labelled texts: the folders of public sets, read only as far as their licences allow."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LICENCES = {
    "permissive": ("ok", "ok(attribution)"),  # what may train weights that an MIT project commits
    "any": None,  # for a comparison; such weights are not written
}


class WrongRow(ValueError):
    """A file of rows cannot be used; the message names the file, the line and why."""


@dataclass(frozen=True, slots=True)
class Row:
    """A text with what is known of it."""

    text: str
    label: frozenset[str]
    maybe: frozenset[str]  # categories whose label nobody knows
    source: str
    id: str = ""
    cluster: str = ""  # near-duplicates share it; they stay on one side of every split
    kind: str = "prompt"  # what it is: a prompt, a post, a tweet, a response

    @property
    def harmless(self) -> bool:
        """A prompt that no category claims: false alarms are counted on these, and not on rude tweets."""
        return self.kind == "prompt" and not self.label and not self.maybe

    def fold(self, folds: int) -> int:
        return int.from_bytes(hashlib.blake2b(self.cluster.encode(), digest_size=4).digest(), "big") % folds


@dataclass(frozen=True, slots=True)
class Manifest:
    """META.json beside the rows: for each source where it is from and what its licence allows."""

    sources: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        return cls(json.loads((folder / "META.json").read_text()))

    def trains(self, source: str, licence: str) -> bool:
        allowed = LICENCES[licence]
        return allowed is None or self.sources.get(source, {}).get("train") in allowed


def lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file, plain or gzipped, with their line numbers.

    Raises:
        WrongRow: a line is no object with a text.
    """
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise WrongRow(f"{path}:{number}: not JSON: {error}") from error
            if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                raise WrongRow(f"{path}:{number}: expected an object with a text")
            yield number, row


def read(path: Path) -> list[Row]:
    """The content rows of a file; rows of personal data (with spans) are left out."""
    found = []
    for number, row in lines(path):
        if "spans" in row:
            continue
        identity = str(row.get("id", f"{path.name}:{number}"))
        found.append(
            Row(
                row["text"],
                frozenset(row.get("label", ())),
                frozenset(row.get("maybe", ())) - frozenset(row.get("label", ())),
                str(row.get("source", path.name)),
                identity,
                str(row.get("cluster", identity)),
                str(row.get("kind", "prompt")),
            )
        )
    return found


def read_folder(folder: Path) -> list[Row]:
    files = sorted(path for path in folder.iterdir() if path.name.endswith((".jsonl", ".jsonl.gz")))
    return [row for path in files for row in read(path)]


def allowed(rows: Collection[Row], manifest: Manifest, licence: str, *, strict: bool = False) -> list[Row]:
    """Those that may train under a licence.

    strict: a row that may not is an error and not left out.

    Raises:
        WrongRow: a row's source is not in the manifest, or strict and it may not train.
    """
    kept = []
    for row in rows:
        if row.source not in manifest.sources:
            raise WrongRow(f"{row.id}: the source {row.source!r} is not in META.json, so its licence is not known")
        if manifest.trains(row.source, licence):
            kept.append(row)
        elif strict:
            raise WrongRow(f"{row.id}: the source {row.source!r} may not train ({licence})")
    return kept
