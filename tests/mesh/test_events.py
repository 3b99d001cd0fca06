"""A record holds the events that were said."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import events
from mesh.events import Event, Kind, delta, records

HEADS = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), max_size=5)


OTHERS = st.builds(Event, st.sampled_from([Kind.STARTED, Kind.END]), HEADS, st.binary())
DELTAS = st.builds(lambda text: delta(orjson.dumps(text)), st.text())


@given(OTHERS)
def test_any_event_comes_back(event: Event) -> None:
    assert events.load(event.dump()) == [event]


@given(st.lists(DELTAS | OTHERS, min_size=1, max_size=20), st.integers(1, 2000))
def test_events_in_a_row_come_back_from_their_records_each_under_its_number(said: list[Event], first: int) -> None:
    heard: list[tuple[int, Event]] = []
    for last, record in records(said, first):
        found = events.load(record)
        heard += [(last - len(found) + at, event) for at, event in enumerate(found, 1)]
    assert heard == [(first + at, event) for at, event in enumerate(said)]


def test_deltas_share_a_record_as_long_as_it_is_not_too_long() -> None:
    small, large = delta(b'"x"'), delta(b'"%b"' % (b"x" * 40_000))
    began = Event(Kind.STARTED, {"attempt": 1})
    told = [(last, len(events.load(record))) for last, record in records([began, *[small] * 300, large, small], 7)]
    assert told == [(7, 1), (307, 300), (308, 1), (309, 1)]
    assert list(records([], 1)) == []


def test_a_head_with_line_breaks_in_its_texts_stays_one_line() -> None:
    event = Event(Kind.END, {"error": {"message": "one\ntwo\r\n"}}, b"body")
    assert event.dump().count(b"\n") == 1 and events.load(event.dump()) == [event]


@pytest.mark.parametrize("data", [b"", b"d", b"d{}", b"x{}\n", b"\n", b"{}\nd", b"s{\n", b"e[}\n"])
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a record of events|unexpected"):
        events.load(data)
