"""The bench's own arithmetic: sizes, percentiles, stalls, added times, ratios."""

from __future__ import annotations

import orjson
import pytest
from benchmarks import report, wire
from benchmarks.load import Result, Spread, percentile, spread, stalls
from benchmarks.proc import Memory
from benchmarks.rounds import FULL, QUICK, Plan, steps


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [wire.Behaviour().model, wire.Behaviour(20_000, 9_999, 30).model])
def test_a_request_is_318_bytes_of_json(model: str, stream: bool) -> None:
    head, body = wire.request(model, port=1, key="k", stream=stream).split(b"\r\n\r\n")
    assert len(body) == 318
    assert f"Content-Length: {len(body)}".encode() in head
    assert orjson.loads(body)["model"] == model


@pytest.mark.parametrize("model", ["m", wire.Behaviour(20_000, 9_999, 30).model])
def test_an_answer_is_600_bytes_of_json_that_ends_with_the_mark(model: str) -> None:
    _, body = wire.answer(model).split(b"\r\n\r\n")
    assert len(body) == 600
    assert orjson.loads(body)["choices"][0]["message"]["content"].endswith(wire.MARK)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        pytest.param("gpt-4-bench", wire.Behaviour(0, 30, 0), id="says nothing"),
        pytest.param("gpt-4-bench-d200", wire.Behaviour(200, 30, 0), id="delay"),
        pytest.param("gpt-4-n5-r30", wire.Behaviour(0, 5, 30), id="pace"),
        pytest.param("gpt-4-n0", wire.Behaviour(0, 1, 0), id="never less than a chunk"),
        pytest.param("gpt-4-north-d1x", wire.Behaviour(0, 30, 0), id="words are no numbers"),
        pytest.param(wire.Behaviour(7, 8, 9).model, wire.Behaviour(7, 8, 9), id="there and back"),
    ],
)
def test_a_model_says_what_the_upstream_does(model: str, expected: wire.Behaviour) -> None:
    assert wire.behaviour(model) == expected


@pytest.mark.parametrize("moment", [0, 1, 123_456_789_012_345, 2**63 - 1])
def test_a_stamp_is_read_as_it_was_written(moment: int) -> None:
    assert list(wire.stamps(b'{"content": "' + wire.stamp(moment) + b'"}')) == [moment]


def test_a_chunk_says_its_own_length() -> None:
    length, event, rest = wire.events("m").chunk().split(b"\r\n")
    assert int(length, 16) == len(event)
    assert rest == b""
    assert orjson.loads(event.removeprefix(b"data: "))["choices"][0]["delta"]["content"]


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        pytest.param([5], 0.99, 5, id="one"),
        pytest.param([1, 2], 0.5, 1.5, id="between two"),
        pytest.param(range(101), 0.99, 99, id="on one"),
        pytest.param(range(101), 1, 100, id="the last"),
        pytest.param(range(11), 0.25, 2.5, id="linear"),
    ],
)
def test_percentiles_are_linear_between_neighbours(values: range | list[int], share: float, expected: float) -> None:
    assert percentile(list(values), share) == pytest.approx(expected)


def test_a_spread_of_nothing_is_nothing() -> None:
    assert spread([]) is None
    made = spread([3_000_000, 1_000_000])
    assert made is not None
    assert vars(made) == pytest.approx({"p50": 2.0, "p90": 2.8, "p99": 2.98, "most": 3.0})


@pytest.mark.parametrize(
    ("gaps_ms", "stalled"),
    [
        pytest.param([33] * 240, False, id="steady"),
        pytest.param([33] * 239 + [200], True, id="one long gap"),
        pytest.param([66] * 240, False, id="just under twice the pace"),
        pytest.param([33, 0, 66] * 80, False, id="two chunks at once"),
        pytest.param([], False, id="a single chunk"),
    ],
)
def test_a_stream_stalls_when_its_worst_gaps_are_over_twice_its_pace(gaps_ms: list[int], stalled: bool) -> None:
    seen = [0]
    for gap in gaps_ms:
        seen.append(seen[-1] + gap * 1_000_000)
    assert stalls(seen, 30) is stalled


def _result(p50: float = 0.0, **fields: object) -> Result:
    made = Result(answers=1000, seconds=2.0, latency=Spread(p50, p50, p50, p50), first=Spread(p50, p50, p50, p50))
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def _run(plan: Plan) -> dict[str, dict[str, list[Result]]]:
    """Three rounds of every step, in which ours uses 0.4 and 0.1 s and the peer ten times that."""
    held = {"web": Memory(9_000_000, 8_000_000), "guard": Memory(7_000_000, 6_000_000)}
    ours = {"cpu_s": {"web": 0.4, "redis": 0.1}, "memory": held, "chunks": 5000}
    peer = {"cpu_s": {"peer": 5.0}, "memory": {"peer": Memory(90_000_000, 80_000_000)}, "chunks": 5000}
    rounds = {
        "direct": [_result(1.0), _result(2.0), _result(9.0)],
        "gateway": [_result(3.0, **ours), _result(5.0, **ours), _result(10.0, **ours, errors={"503 overloaded": 2})],
        "peer": [_result(11.0, **peer, answers=100, stalled=number) for number in (0, 4, 2)],
    }
    return {step.name: rounds for step in steps(plan)}


def test_the_rows_are_medians_of_the_rounds() -> None:
    rows = {row.name: row.values for row in report.rows(FULL, _run(FULL))}
    assert rows["requests/s, 64 clients"] == {"direct": 500, "gateway": 500, "peer": 50}
    assert rows["CPU s per 1,000 requests, 16 clients"] == pytest.approx({"gateway": 0.5, "peer": 50})
    assert rows["  of which web, per 1,000 requests"] == pytest.approx({"gateway": 0.4})
    assert rows["300 paced streams: CPU s per 1,000 chunks"] == pytest.approx({"gateway": 0.1, "peer": 1.0})
    assert rows["300 paced streams: stalled, worst round"]["peer"] == 4
    assert rows["memory MB (PSS), the guard's process left out"] == {"gateway": 8, "peer": 80}
    assert rows["  guard, MB"] == {"gateway": 6}


def test_a_must_that_is_a_time_is_longer_where_the_bare_proxy_takes_longer() -> None:
    run = _run(FULL)
    assert report.slowness(run) is None
    assert all(not row.here for row in report.rows(FULL, run))
    run["closed 64"] = run["closed 64"] | {"bare": [_result(cpu_s={"bare": 0.042}) for _ in range(3)]}
    assert report.slowness(run) == pytest.approx(2)
    rows = {row.name: row for row in report.rows(FULL, run)}
    assert (rows["added p50 ms, 50 requests/s"].must, rows["added p50 ms, 50 requests/s"].here) == ("4", "8.00")
    assert rows["300 paced streams: CPU s per 1,000 chunks"].here == "0.200"
    assert {row.must for row in rows.values() if not row.here} == {"", "peer x 10", "peer / 10", "0", "300"}


def test_what_is_added_is_over_the_direct_call_of_the_same_round() -> None:
    rows = {row.name: row.values for row in report.rows(FULL, _run(FULL))}
    assert rows["added p50 ms, 50 requests/s"] == {"gateway": 2.0, "peer": 9.0}  # of 2, 3, 1 and of 10, 9, 2
    assert rows["added p50 ms to a stream's first chunk"]["gateway"] == 2.0


def test_no_error_is_hidden() -> None:
    results = _run(FULL)
    assert report.errors_of(results)["gateway"] == {"503 overloaded": 2 * len(results)}
    assert {row.name: row.values for row in report.rows(FULL, results)}["errors"]["gateway"] == 2 * len(results)


@pytest.mark.parametrize("plan", [FULL, QUICK], ids=["full", "quick"])
def test_the_table_shows_the_peers_ratio_to_ours(plan: Plan) -> None:
    lines = report.table(report.rows(plan, _run(plan)), ["direct", "gateway", "peer"], ["peer"]).splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = next([cell.strip() for cell in line.split("|")] for line in lines if "requests/s, 64" in line)
    assert cells[1:-1] == ["requests/s, 64 clients", "500", "500", "50", "1/10.0", "peer x 10", ""]


def test_a_target_that_answered_nothing_leaves_its_cells_empty() -> None:
    silent = Result(errors={"unanswered after 15 s": 64}, cpu_s={"gateway": 1.0})
    results = {step.name: {"direct": [_result(1.0)], "gateway": [silent]} for step in steps(QUICK)}
    rows = {row.name: row.values for row in report.rows(QUICK, results)}
    assert "gateway" not in rows["added p50 ms, 50 requests/s"]
    assert "gateway" not in rows["CPU s per 1,000 requests, 64 clients"]
    assert rows["errors"]["gateway"] == 64 * len(results)
