"""Personal data as a whole: order, overlaps, kinds, health, and texts that were written to break it."""

from __future__ import annotations

import itertools
import random
import string
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.masking import Masker, restore
from guardrails.personal import KINDS, PersonalData
from guardrails.verdicts import Finding
from tests.guardrails.growth import grows_too_fast

PERSONAL = PersonalData()
PIECES = st.sampled_from(
    [
        "ann@example.org",
        "+44 20 7946 0958",
        "4111 1111 1111 1111",
        "536-22-8701",
        "DE89370400440532013000",
        "203.0.113.7",
        "2001:db8::1",
        "MRN-418985",
        "DOB: 1984-03-09",
        "sk-proj-abcDEF1234567890abcDEF",
        "passport C01X00T47",
        "tax id 12-3456789",
        "Ann Lee",
        "12 High Street, Leeds LS1 4DY",
        "call ",
        "ssn ",
        "<EMAIL_1>",
        "@",
        "-----BEGIN PRIVATE KEY-----",
        "eyJ",
        "://",
        ":",
        "+",
        "1",
        " ",
        "\n",
        "\u200b",
        "\ud83d",
        "٣",
        "é",
        "😀",
        "=",
        "password: ",
        "\x00",
        "(",
        "[at]",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=8), max_size=25).map("".join)


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_findings_are_in_order_apart_and_inside_of_any_text(text: str) -> None:
    found = PERSONAL.find(text)
    assert all(0 <= one.start < one.end <= len(text) for one in found)
    assert all(one.end <= after.start for one, after in itertools.pairwise(found))
    assert {one.kind for one in found} <= set(KINDS)
    masker = Masker()
    assert restore(masker.mask(text, found), masker.values) == text


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        pytest.param("SSN 536-22-8701, call 415-555-0132", ["SSN", "PHONE"], id="each its own"),
        pytest.param("https://root:s3cr3t@example.org/", ["API_KEY", "EMAIL"], id="a password in a URL"),
        pytest.param("key=sk-proj-4111111111111111abcdEFGH", ["API_KEY"], id="a key holds a card's number"),
        pytest.param("DE89370400440532013000", ["IBAN"], id="an account holds a phone's"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_the_surest_finding_counts(text: str, kinds: list[str]) -> None:
    assert [one.kind for one in PERSONAL.find(text)] == kinds


def test_what_sticks_out_of_a_surer_finding_stays_found() -> None:
    class Whole:
        name = "whole"

        def find(self, text: str) -> list[Finding]:
            return [Finding("ADDRESS", 0, len(text), 0.5, self.name)]

    found = PersonalData(["EMAIL", "ADDRESS"], more=[Whole()]).find("12 High Street ann@example.org Leeds")
    assert [(one.kind, one.start, one.end) for one in found] == [
        ("ADDRESS", 0, 14),
        ("EMAIL", 15, 30),
        ("ADDRESS", 31, 36),
    ]


def test_only_the_kinds_asked_for_are_looked_for() -> None:
    text = "ann@example.org, 536-22-8701, 203.0.113.7"
    assert [one.kind for one in PersonalData(["EMAIL", "IP_ADDRESS"]).find(text)] == ["EMAIL", "IP_ADDRESS"]
    assert PersonalData([]).find(text) == []


def test_offsets_are_those_of_the_text_as_it_was_given() -> None:
    text = "😀 \u200bmail: an\u200bn@example.org\u200b, card ４１１１-1111-١١١١-1111"
    assert [text[one.start : one.end] for one in PERSONAL.find(text)] == [
        "an\u200bn@example.org",
        "４１１１-1111-١١١١-1111",
    ]


@pytest.mark.parametrize(
    ("text", "health"),
    [
        ("Patient MRN: 722992 was seen today", True),
        ("Write to ann@example.org about her diabetes", True),
        ("SSN 536-22-8701, prescribed metformin", True),
        ("What are the symptoms of diabetes?", False),
        ("Write to ann@example.org about the invoice", False),
        ("ann@example.org " + "and so on " * 60 + "diabetes", False),
    ],
)
def test_health_counts_where_somebody_can_be_told_by_it(text: str, health: bool) -> None:
    assert PERSONAL.is_phi(text, PERSONAL.find(text)) is health


UNITS = [
    "1",
    "1-",
    "@",
    "a@",
    "a.",
    "a@b.",
    "eyJ",
    "eyJaaaaaaaaa.",
    "-----BEGIN PRIVATE KEY-----",
    "password: x1y2z3 ",
    "4111111111111111 ",
    "536-22-8701 ",
    "+442079460958 ",
    "call 4155550132 ",
    "Ann Lee ",
    "1 High Street, ",
    "a://b:c",
    ":",
    "1:",
    "1.1.1.1 ",
    "DOB 1.1.1984 ",
    "MRN 123456 ",
    "passport ",
    "tax id 12-3456789 ",
    "[at] ",
    "DE89370400440532013000",
    "\u200b1",
    "é",
    "one two ",
    "=",
    "key = ",
    "John ",
]


@pytest.mark.parametrize("unit", UNITS)
def test_time_grows_with_the_length_and_no_faster(unit: str) -> None:
    assert grows_too_fast(PERSONAL.find, lambda size: unit * (size // len(unit))) == ""


@pytest.mark.parametrize("seed", range(6))
def test_nor_does_it_where_every_piece_is_another(seed: int) -> None:
    chance = random.Random(seed)
    few = chance.sample(UNITS, 5)

    def text_of(size: int) -> str:
        pieces = (
            chance.choice(few) + "".join(chance.choices(string.printable, k=chance.choice((0, 0, 1, 3, 20))))
            for _ in range(size)
        )
        return "".join(itertools.islice(pieces, size // 8))[:size]

    assert grows_too_fast(PERSONAL.find, text_of) == ""


def test_what_grows_with_the_square_of_the_length_is_noticed() -> None:
    def pairs(text: str) -> int:
        return sum(1 for start in range(0, len(text), 40) for _ in range(start, len(text), 4))

    assert "32000 characters" in grows_too_fast(pairs, "a".__mul__)


def test_one_finder_serves_many_threads() -> None:
    texts = [f"Write to user{number}@example.org or call +44 20 7946 {number:04}" for number in range(200)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(PERSONAL.find, texts)) == [PERSONAL.find(text) for text in texts]
