"""Which rows may train, and that rows made here stay what they are."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from guardrails.policy import CATEGORIES
from guardrails.training.fit import layered
from guardrails.training.generated import ASK, DATA, Phrases, own, strange, wrapped
from guardrails.training.rows import Manifest, Row, WrongRow, allowed, read_folder
from tests.guardrails import held_out

META = {
    "free": {"licence": "MIT", "train": "ok"},
    "named": {"licence": "CC-BY-4.0", "train": "ok(attribution)"},
    "closed": {"licence": "CC-BY-NC-4.0", "train": "eval-only"},
    "alike": {"licence": "CC-BY-SA-3.0", "train": "ok(share-alike data)"},
    "doubt": {"licence": "?", "train": "doubtful: gated"},
}


def folder(tmp_path: Path, *sources: str) -> Path:
    (tmp_path / "META.json").write_text(json.dumps(META))
    rows = [
        {"text": f"text {n}", "label": [], "maybe": [], "source": name, "id": f"{name}-{n}", "cluster": str(n)}
        for n, name in enumerate(sources)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_only_rows_whose_licence_allows_it_train(tmp_path: Path) -> None:
    data = folder(tmp_path, "free", "named", "closed", "alike", "doubt")
    rows, manifest = read_folder(data), Manifest.read(data)
    assert [row.source for row in allowed(rows, manifest, "permissive")] == ["free", "named"]
    with pytest.raises(WrongRow, match=r"'closed' may not train"):
        allowed(rows, manifest, "permissive", strict=True)


def test_a_row_of_no_known_source_fails_the_training(tmp_path: Path) -> None:
    data = folder(tmp_path, "free", "stray")
    with pytest.raises(WrongRow, match=r"'stray' is not in META.json"):
        allowed(read_folder(data), Manifest.read(data), "permissive")


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    data = folder(tmp_path, "free")
    (data / "more.jsonl").write_text('{"text": "good"}\n{"text": 3}\n')
    with pytest.raises(WrongRow, match=r"more.jsonl:2: expected an object with a text"):
        read_folder(data)


def test_the_same_seed_makes_the_same_rows() -> None:
    def made(seed: int) -> list[str]:
        phrases = Phrases(random.Random(seed))
        rows = [*phrases.deeds(2, 1), *phrases.orders(50), *phrases.harmless(50)]
        return [row.text for row in rows]

    assert made(3) == made(3) != made(4)


SLOT = re.compile(r"\{(\w+)\}")


@pytest.fixture(scope="module")
def made() -> list[Row]:
    return own(0)


def test_made_rows_have_no_open_slot_and_known_labels(made: list[Row]) -> None:
    phrases = Phrases(random.Random(0))
    for row in made:
        assert row.text.strip() and row.label <= set(CATEGORIES) - {"CHILD_SAFETY"}
        assert not row.label & row.maybe
        own_braces = row.source == "own:strange:code"
        assert own_braces or not set(SLOT.findall(row.text)) & phrases.slots, row.text


def test_only_short_harmless_prompts_are_put_into_scenes() -> None:
    known = {"source": "free", "cluster": "1"}
    rows = [
        Row("How do I prune roses?", frozenset(), frozenset(), id="short", **known),
        Row("How do I prune roses? " * ASK, frozenset(), frozenset(), id="long", **known),
        Row("How do I hurt someone?", frozenset({"VIOLENCE"}), frozenset(), id="harm", **known),
        Row("How do I do it?", frozenset(), frozenset({"VIOLENCE"}), id="open", **known),
        Row("I prune roses", frozenset(), frozenset(), id="post", kind="post", **known),
    ]
    made = wrapped(rows, 0)
    assert list(made) == ["short"] and made == wrapped(rows, 0)
    scene = made["short"]
    assert rows[0].text in scene.text and scene.text != rows[0].text
    assert scene.harmless and scene.cluster == rows[0].cluster


def test_each_text_is_made_once(made: list[Row]) -> None:
    assert len({row.text for row in made}) == len(made)


def test_a_net_learns_what_no_line_can_tell_apart() -> None:
    dice = np.random.default_rng(0)
    x = dice.normal(size=(4_000, 6)).astype(np.float32)
    y = ((x[:, :1] * x[:, 1:2]) > 0).astype(np.float64)
    first, again = (layered(x, y, np.ones_like(y), seed=3) for _ in range(2))
    scores = np.maximum(x @ first.hidden + first.hidden_bias, 0) @ first.deep + x @ first.straight + first.bias
    assert float(((scores > 0) == (y > 0)).mean()) > 0.65  # a line: half
    assert (first.hidden == again.hidden).all()


def test_the_gates_sentences_are_not_trained_on(made: list[Row]) -> None:
    phrases = Phrases(random.Random(0))
    trained = {row.text.lower() for row in [*made, *phrases.deeds(20, 10), *phrases.orders(2000)]}
    trained |= {line.lower() for path in DATA.iterdir() for line in path.read_text().splitlines()}
    assert not trained & {text.lower() for texts in held_out.HARMFUL.values() for text in texts}
    assert not trained & {text.lower() for text in held_out.HARMLESS}


def test_the_two_halves_of_strange_text_share_no_file() -> None:
    first, second = (
        {row.text for row in strange(random.Random(0), 3, half=half) if "code" in row.source or "foreign" in row.source}
        for half in (0, 1)
    )
    assert not first & second


def test_training_says_what_is_wrong_in_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "guardrails.train", "--data", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("guardrails.train: ") and done.stderr.count("\n") == 1
