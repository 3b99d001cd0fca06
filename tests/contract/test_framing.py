"""Events are the same wherever the bytes are cut."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.transports.framing import LONGEST_EVENT, Framing, JSONLines, ServerSentEvents

EVENTS = [{"a": "Grüße, 世界 \u2028\u0085 👩‍👩‍👧"}, {}, {"b": [1, "data: [DONE]\n\n", None]}, {"c": '"\\'}]

SSE = (
    b": hello\n\n"
    b'data: {"a": "Gr\xc3\xbc\xc3\x9fe, \xe4\xb8\x96\xe7\x95\x8c \xe2\x80\xa8\xc2\x85 '
    b'\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7"}\n\n'
    b"event: message\nid: 7\nretry: 3\ndata:{}\n\n"
    b'data: {"b": [1,\ndata: "data: [DONE]\\n\\n", null]}\n\n'
    b'data: {"c": "\\"\\\\"}\n\n'
)
LINES = (
    b'{"a": "Gr\xc3\xbc\xc3\x9fe, \xe4\xb8\x96\xe7\x95\x8c \xe2\x80\xa8\xc2\x85 '
    b'\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7"}\n'
    b'\n{}\n  \n{"b": [1, "data: [DONE]\\n\\n", null]}\n{"c": "\\"\\\\"}'
)


def _read(framing: Framing, pieces: list[bytes]) -> list[dict[str, Any]]:
    events = [event for piece in pieces for event in framing.feed(piece)]
    return events + framing.end()


def _cut(whole: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % len(whole) for place in places), len(whole)]
    return [whole[start:end] for start, end in itertools.pairwise(bounds)]


@pytest.mark.parametrize(
    ("kind", "whole"),
    [
        pytest.param(ServerSentEvents, SSE, id="LF"),
        pytest.param(ServerSentEvents, SSE.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(ServerSentEvents, SSE.replace(b"\n", b"\r") + b"\n", id="CR"),
        pytest.param(JSONLines, LINES, id="lines"),
        pytest.param(JSONLines, LINES.replace(b"\n", b"\r\n"), id="lines CRLF"),
    ],
)
@given(places=st.lists(st.integers(0, 10_000), max_size=40))
def test_events_are_the_same_wherever_they_are_cut(kind: type[Framing], whole: bytes, places: list[int]) -> None:
    assert _read(kind(), _cut(whole, places)) == EVENTS
    assert _read(kind(), [whole[place : place + 1] for place in range(len(whole))]) == EVENTS


def test_nothing_is_read_after_done() -> None:
    framing = ServerSentEvents()

    assert framing.feed(b'data: {"a": 1}\n\ndata: [DONE]\n\ndata: garbage\n\n') == [{"a": 1}]
    assert framing.done and not framing.broken


def test_an_event_without_its_empty_line_is_dropped() -> None:
    assert _read(ServerSentEvents(), [b'data: {"a": 1}\n\ndata: {"b": 2}\n']) == [{"a": 1}]


@pytest.mark.parametrize("garbage", [b"{", b"null", b"5", b"[]", b'"text"', b"\xff\xfe", b"NaN", b"<html>"])
@pytest.mark.parametrize(("kind", "form"), [(ServerSentEvents, b"data: %s\n\n"), (JSONLines, b"%s\n")])
def test_the_events_before_garbage_are_given(kind: type[Framing], form: bytes, garbage: bytes) -> None:
    framing = kind()

    assert framing.feed(form % b'{"a": 1}' + form % garbage + form % b'{"b": 2}') == [{"a": 1}]
    assert framing.broken


@pytest.mark.parametrize("kind", [ServerSentEvents, JSONLines])
def test_an_event_without_end_is_given_up(kind: type[Framing]) -> None:
    framing = kind()
    piece = b"data: " + b"x" * 1_000_000
    fed = 0
    while not framing.broken:
        framing.feed(piece)
        fed += len(piece)
        assert fed < LONGEST_EVENT + 2 * len(piece)


@pytest.mark.parametrize("kind", [ServerSentEvents, JSONLines])
def test_deep_nesting_is_garbage_and_no_crash(kind: type[Framing]) -> None:
    framing = kind()
    form = b"data: %s\n\n" if kind is ServerSentEvents else b"%s\n"

    assert framing.feed(form % (b'{"a":' * 100_000 + b"1" + b"}" * 100_000)) == []
    assert framing.broken
