"""Masking and restoring: exact in any chunking, for any text, and never with another masker's values."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.masking import LONGEST, HoldBack, Masker, restore, restore_json
from guardrails.verdicts import Finding

SNIPPETS = st.sampled_from(
    [
        "<EMAIL_1>",
        "<email_1>",
        "< NAME_1 >",
        "<LITERAL_1>",
        r"<CREDIT\_CARD_2>",
        "&lt;NAME_1&gt;",
        "<",
        ">",
        "&",
        "&lt;",
        "_1>",
        "<NAME_",
        "<<EMAIL_1>>",
        "<NAME_01>",
        "<NAME_1234567890>",
        "<A_B_C_1>",
        "ann@example.org",
        "Zoë",
        "\u200b",
        "\ud800",
        "😀",
        "\\",
        '"',
        "\n",
        " ",
        "<" + "A" * 60 + "_1>",
        "Ann",
        "1",
    ]
)
TEXTS = st.lists(SNIPPETS | st.text(max_size=6), max_size=14).map("".join)


@st.composite
def findings(draw: st.DrawFn, text: str) -> list[Finding]:
    places = draw(st.lists(st.tuples(st.integers(0, len(text)), st.integers(0, 12)), max_size=5))
    kinds = st.sampled_from(["EMAIL", "NAME", "CREDIT_CARD", "LITERAL", "employee no. 7", "42"])
    return [Finding(draw(kinds), start, start + length) for start, length in places]


@st.composite
def texts_with_findings(draw: st.DrawFn) -> tuple[str, list[Finding]]:
    text = draw(TEXTS)
    return text, draw(findings(text))


def chunks(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[start:end] for start, end in itertools.pairwise(places)]


def streamed(pieces: list[str]) -> list[str]:
    hold = HoldBack()
    return [*(hold.feed(piece) for piece in pieces), hold.flush()]


@given(texts_with_findings(), st.lists(st.integers(0, 10_000), max_size=40))
@settings(max_examples=150, deadline=None)
def test_what_was_masked_is_restored_exactly_in_whatever_pieces_it_comes(
    case: tuple[str, list[Finding]], cuts: list[int]
) -> None:
    text, found = case
    masker = Masker()
    masked = masker.mask(text, found)
    assert restore(masked, masker.values) == text
    assert "".join(restore(piece, masker.values) for piece in streamed(chunks(masked, cuts))) == text


@given(texts_with_findings(), st.lists(st.integers(0, 10_000), max_size=40))
@settings(max_examples=150, deadline=None)
def test_arguments_of_a_tool_call_are_restored_as_json(case: tuple[str, list[Finding]], cuts: list[int]) -> None:
    text, found = case
    masker = Masker()
    arguments = json.dumps({"said": masker.mask(text, found)}, ensure_ascii=False)
    pieces = streamed(chunks(arguments, cuts))
    restored = "".join(restore_json(piece, masker.values) for piece in pieces)
    assert json.loads(restored) == {"said": text}


@given(st.lists(TEXTS, max_size=8))
@settings(max_examples=150, deadline=None)
def test_a_stream_holds_back_less_than_one_placeholder_and_loses_nothing(pieces: list[str]) -> None:
    hold, left, came = HoldBack(), "", ""
    for piece in pieces:
        came += piece
        left += hold.feed(piece)
        assert came.startswith(left) and len(came) - len(left) < LONGEST
    assert left + hold.flush() == came


@given(texts_with_findings(), texts_with_findings())
@settings(max_examples=60, deadline=None)
def test_another_masker_s_values_do_not_come_out(
    mine: tuple[str, list[Finding]], other: tuple[str, list[Finding]]
) -> None:
    masker, another = Masker(), Masker()
    masked = masker.mask(*mine)
    another.mask(*other)
    assert restore(masked, masker.values) == mine[0]
    assert all(value in mine[0] for value in masker.values.values())


def test_a_masked_text_holds_no_shape_that_was_in_the_original() -> None:
    masker = Masker()
    assert (
        masker.mask("I am <NAME_1>, mail ann@example.org", [Finding("EMAIL", 20, 35)])
        == "I am <LITERAL_1>, mail <EMAIL_1>"
    )
    assert masker.values == {"<LITERAL_1>": "<NAME_1>", "<EMAIL_1>": "ann@example.org"}


def test_the_same_value_gets_the_same_placeholder_also_in_a_later_turn() -> None:
    first = Masker()
    assert first.mask(
        "Ann and Bob and Ann", [Finding("NAME", 0, 3), Finding("NAME", 8, 11), Finding("NAME", 16, 19)]
    ) == ("<NAME_1> and <NAME_2> and <NAME_1>")
    later = Masker(first.values)
    assert later.mask("Eve, Bob", [Finding("NAME", 0, 3), Finding("NAME", 5, 8)]) == "<NAME_3>, <NAME_2>"
    assert "<NAME_3>" not in first.values


@pytest.mark.parametrize(
    "written",
    [
        "<EMAIL_1>",
        pytest.param("<email_1>", id="in small letters"),
        pytest.param("< EMAIL_1 >", id="blanks inside"),
        pytest.param(r"<EMAIL\_1>", id="Markdown"),
        pytest.param("&lt;EMAIL_1&gt;", id="HTML"),
    ],
)
def test_a_placeholder_counts_in_the_forms_that_models_give_it(written: str) -> None:
    assert restore(f"Write to {written}.", {"<EMAIL_1>": "ann@example.org"}) == "Write to ann@example.org."
    assert streamed(list(f"Write to {written}.")) == [*"Write to ", *[""] * (len(written) - 1), written, ".", ""]


@pytest.mark.parametrize(
    "written", ["EMAIL_1", "<EMAIL_2>", "<EMAIL_01>", "<EMAIL 1>", "<EMAIL_>", "[EMAIL_1]", "<EMAIL_1", "<EM\nAIL_1>"]
)
def test_nothing_else_counts(written: str) -> None:
    assert restore(written, {"<EMAIL_1>": "ann@example.org"}) == written


def test_what_is_restored_is_not_read_again() -> None:
    assert restore("<NAME_1>", {"<NAME_1>": "<NAME_2>", "<NAME_2>": "Bob"}) == "<NAME_2>"


@pytest.mark.parametrize(
    ("kind", "value", "partial"),
    [
        ("CREDIT_CARD", "4111 1111 1111 1111", "**** **** **** 1111"),
        ("EMAIL", "ann@example.org", "a**@*******.***"),
        ("NAME", "Ann Lee", "A** L**"),
        ("NAME", "X", "*"),
        ("PHONE", "555-0100", "***-**00"),
        ("SSN", "12", "**"),
        ("ADDRESS", "1 Low Street", "* *** ******"),
    ],
)
def test_partly_hidden_values_show_little(kind: str, value: str, partial: str) -> None:
    masker = Masker()
    assert masker.mask(value, [Finding(kind, 0, len(value))], {kind: "partial"}) == partial
    assert not masker.values


def test_hashes_can_be_compared_under_one_key_and_tell_nothing_without_it() -> None:
    def hashed(key: bytes | None, value: str = "ann@example.org") -> str:
        return Masker(key=key).mask(value, [Finding("EMAIL", 0, len(value))], {"EMAIL": "hash"})

    assert hashed(b"k" * 32) == hashed(b"k" * 32) != hashed(b"l" * 32)
    assert hashed(b"k" * 32) != hashed(b"k" * 32, "eve@example.org")
    assert hashed(None) != hashed(None)


def test_full_hides_all_and_restores_nothing() -> None:
    masker = Masker()
    assert masker.mask("to ann@example.org", [Finding("EMAIL", 3, 18)], {"EMAIL": "full"}) == "to [EMAIL]"
    assert restore("to [EMAIL]", masker.values) == "to [EMAIL]"


@pytest.mark.parametrize("unit", ["<", "<A_", "<EMAIL_1>", "&lt;", "a_", "<" + "A" * 19, "\\_"])
def test_a_megabyte_takes_linear_time(unit: str) -> None:
    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        began = time.process_time()
        masker = Masker()
        hold = HoldBack()
        masked = masker.mask(text, [])
        out = [hold.feed(masked[place : place + 4096]) for place in range(0, len(masked), 4096)]
        assert restore("".join([*out, hold.flush()]), masker.values) == text
        return time.process_time() - began

    assert seconds(1_000_000) < 3
