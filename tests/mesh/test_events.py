"""An event on the wire is the event that was said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import events
from mesh.events import Event, Kind, delta

HEADS = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), max_size=5)


@given(st.builds(Event, st.sampled_from(Kind), HEADS, st.binary()))
def test_any_event_comes_back(event: Event) -> None:
    assert events.load(event.dump()) == event


@pytest.mark.parametrize("body", [b"", b"{}", b"a\nb\n\nc", b"\0\xff", b"\n"])
def test_a_body_is_not_looked_into(body: bytes) -> None:
    assert delta(body).dump() == b"d{}\n" + body
    assert events.load(b"d{}\n" + body) == Event(Kind.DELTA, {}, body)


def test_a_head_with_line_breaks_in_its_texts_stays_one_line() -> None:
    event = Event(Kind.END, {"error": {"message": "one\ntwo\r\n"}}, b"body")
    assert event.dump().count(b"\n") == 1 and events.load(event.dump()) == event


@pytest.mark.parametrize("data", [b"", b"d", b"d{}", b"x{}\n", b"\n", b"{}\nd", b"s{\n", b"e[}\n"])
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not an event|unexpected"):
        events.load(data)
