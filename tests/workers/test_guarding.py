"""What passes the gate of a watched stream: in order, whole, never cut inside a placeholder, and nothing forbidden."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable
from typing import Any

import pytest

from guardrails import rulebook
from guardrails.masking import restore
from guardrails.rulebook import Rulebook
from mesh.job import Claim, Spec, Target
from mesh.settings import GuardLimits
from tests.stack import ROOT
from workers.assembly import Assembly
from workers.guarding import Chunk, Gate, Watch

QUIET = "jailbreak: {enabled: false}\nphi: {force_private: false}\n"
RULES = (
    QUIET
    + """
refusal: No.
categories:
  VIOLENCE: {action: block, keywords: [zorblatting]}
stages: {response: {pii: {SSN: {action: redact}}}}
"""
)
SHIPPED = (ROOT / "config" / "guardrail-settings.yaml").read_text()
HEAD = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
VALUES = {"<EMAIL_1>": "jane@example.com", "<CREDIT_CARD_12>": "4111"}


def watch(rules: str = RULES, *, masked: bool = False, **limits: int) -> Watch:
    spec = Spec(endpoint="chat.completions", model="m", targets=(Target("p", "m"),), masked=masked)
    claim = Claim("job-1", 1, 1, 0, 1000, 0, "p", "t", spec, b"", False, "", False, "k")
    return Watch(rulebook_of(rules), claim, GuardLimits(**{"window_chars": 30, "overlap_chars": 40, **limits}))


@functools.cache  # to put a guard together takes a third of a second
def rulebook_of(rules: str) -> Rulebook:
    return rulebook.read(rules, "rules")


def chunk(index: int = 0, finish: str | None = None, logprobs: Any = None, **delta: Any) -> Chunk:
    return {**HEAD, "choices": [{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}]}


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def passed(watched: Watch, chunks: Iterable[Chunk], choices: int = 1) -> list[Chunk]:
    """What is published of a stream that ends."""

    async def run() -> list[Chunk]:
        published: list[Chunk] = []

        async def publish(each: Chunk) -> None:
            published.append(each)

        gate = Gate(watched, publish, choices)
        for each in chunks:
            await gate.feed(each)
            if gate.closed:
                break
        await gate.end()
        return published

    return asyncio.run(run())


def whole(chunks: Iterable[Chunk]) -> dict[str, Any]:
    assembly = Assembly()
    for each in chunks:
        assembly.feed(each)
    return assembly.answer()


@pytest.mark.parametrize("rules", [QUIET, RULES], ids=["only masked", "watched too"])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 200])
def test_each_event_can_be_restored_by_itself(rules: str, size: int) -> None:
    text = "To <EMAIL_1>, <CREDIT_CARD_12>< <EMAIL_1 > a < b <EMAIL_9> << <email_1> <E"
    arguments = '{"to": ["<EMAIL_1>", "<CREDIT_CARD_12>"]}'
    said = [chunk(role="assistant", content="")]
    said += [chunk(content=piece) for piece in pieces(text, size)]
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "mail", "arguments": ""}}
    said += [chunk(tool_calls=[call])]
    said += [chunk(tool_calls=[{"index": 0, "function": {"arguments": piece}}]) for piece in pieces(arguments, size)]
    said += [chunk(finish="tool_calls"), {**HEAD, "choices": [], "usage": {"total_tokens": 3}}]
    published = passed(watch(rules, masked=True), said)
    content = [each["choices"][0]["delta"].get("content") or "" for each in published if each["choices"]]
    called = [
        call["function"]["arguments"]
        for each in published
        if each["choices"]
        for call in each["choices"][0]["delta"].get("tool_calls") or ()
    ]
    assert "".join(restore(piece, VALUES) for piece in content) == restore(text, VALUES)
    assert "".join(restore(piece, VALUES) for piece in called) == restore(arguments, VALUES)
    assert whole(published) == whole(said)
    assert (
        published[-1]["usage"] == {"total_tokens": 3} and published[-2]["choices"][0]["finish_reason"] == "tool_calls"
    )


@pytest.mark.parametrize("size", [1, 3, 7, 29, 31, 500])
def test_nothing_from_a_forbidden_word_on_is_published(size: int) -> None:
    text = "a harmless beginning " * 3 + "then zorblatting " + "and more " * 30
    published = passed(watch(), [chunk(content=piece) for piece in pieces(text, size)])
    answer = whole(published)["choices"][0]
    assert answer["finish_reason"] == "content_filter" and answer["message"]["content"].endswith("No.")
    shown = answer["message"]["content"].removesuffix("No.")
    assert text.startswith(shown) and "zorblatting" not in shown and "more" not in shown


@pytest.mark.parametrize("size", [1, 3, 7, 29, 500])
def test_personal_data_is_hidden_however_it_is_cut(size: int) -> None:
    text = "the number is 536-22-8741, " + "and then more is said " * 5
    answer = whole(passed(watch(), [chunk(content=piece) for piece in pieces(text, size)]))
    assert answer["choices"][0]["message"]["content"] == text.replace("536-22-8741", "[SSN]")


def test_choices_are_judged_each_by_itself() -> None:
    said = [chunk(index, content=piece) for piece in pieces("so far so good " * 4, 5) for index in (0, 1)]
    said += [chunk(0, content=" zorblatting "), chunk(1, content=" the end")]
    said += [chunk(index, content="!" * 10) for _ in range(9) for index in (0, 1)]
    said += [chunk(0, finish="stop"), chunk(1, finish="stop"), {**HEAD, "choices": [], "usage": {"total_tokens": 3}}]
    answer = whole(passed(watch(), said, 2))
    assert [choice["finish_reason"] for choice in answer["choices"]] == ["content_filter", "stop"]
    assert answer["choices"][1]["message"]["content"] == "so far so good " * 4 + " the end" + "!" * 90
    assert answer["usage"] == {"total_tokens": 3}


def test_a_refused_stream_need_not_go_on_but_a_finished_one_is_read_for_its_usage() -> None:
    endless = (chunk(content=f"zorblatting {number} ") for number in range(10**9))
    assert whole(passed(watch(), endless))["choices"][0]["finish_reason"] == "content_filter"
    short = [chunk(content="zorblatting"), chunk(finish="stop"), {**HEAD, "choices": [], "usage": {"total_tokens": 3}}]
    assert passed(watch(), short)[-1]["usage"] == {"total_tokens": 3}


def test_log_probabilities_come_with_their_words_and_not_with_hidden_ones() -> None:
    def told(words: list[str]) -> dict[str, Any]:
        said = [chunk(content=word, logprobs={"content": [{"token": word, "logprob": -1.0}]}) for word in words]
        answer: dict[str, Any] = whole(passed(watch(), [*said, chunk(finish="stop")]))["choices"][0]
        return answer

    words = ["one ", "two ", "three ", "four ", "five ", "six ", "seven ", "eight"]
    assert [each["token"] for each in told(words)["logprobs"]["content"]] == words
    assert "8741" not in str(told([*words, " 536-22-", "8741", " end"]))


@pytest.mark.parametrize("blanks", ["kept", "left out"])
def test_log_probabilities_tell_no_word_before_it_may_be_told(blanks: str) -> None:
    words = [" so", " far", " so", " good", ","] * 8 + [" the", " number", " is", " 536-22-", "8741", " I", " said"]
    said = [
        chunk(content=word, logprobs={"content": [{"token": word if blanks == "kept" else word.strip()}]})
        for word in words
    ]
    published = [each["choices"][0] for each in passed(watch(), [*said, chunk(finish="stop")])]
    text, tokens = "", ""
    for choice in published:
        text += choice["delta"].get("content") or ""
        for each in (choice["logprobs"] or {}).get("content", ()):
            tokens += each["token"]
        assert text.replace(" ", "").startswith(tokens.replace(" ", "")), "a token before its text"
    assert tokens and "536" not in tokens and text == "".join(words).replace("536-22-8741", "[SSN]")


HEADED = {"index": 0, "id": "c", "type": "function", "function": {"name": "mail", "arguments": ""}}


@pytest.mark.parametrize(
    "empty",
    [
        pytest.param({"content": ""}, id="no text"),
        pytest.param({"content": None, "refusal": None}, id="null"),
        pytest.param({"content": "", "reasoning_content": ""}, id="no thought either"),
        pytest.param({"role": "assistant"}, id="the role again"),
        pytest.param({"role": "assistant", "content": ""}, id="the beginning again"),
        pytest.param({"role": "assistant", "content": " and"}, id="the role with every word"),
        pytest.param({"tool_calls": []}, id="no call"),
        pytest.param({"tool_calls": [{"index": 0, "function": {"arguments": ""}}]}, id="no arguments"),
        pytest.param({"tool_calls": [{"index": 0, "id": "c", "type": "function"}]}, id="the call's id again"),
        pytest.param({"tool_calls": [HEADED]}, id="the call's head again"),
        pytest.param({"tool_calls": [{"index": 0, "id": "c", "function": {"arguments": "{"}}]}, id="and a piece of it"),
        pytest.param({}, id="nothing at all"),
    ],
)
@pytest.mark.parametrize("rules", [RULES, SHIPPED], ids=["ours", "shipped"])
def test_nothing_is_published_while_nothing_can_be_said(rules: str, empty: dict[str, Any]) -> None:
    begun = [chunk(role="assistant", content=""), chunk(tool_calls=[HEADED])]
    said = [*begun, chunk(content="some words"), *[chunk(**empty)] * 3]

    async def run() -> list[Chunk]:
        published: asyncio.Queue[Chunk] = asyncio.Queue()
        gate = Gate(watch(rules, masked=True, window_chars=600), published.put, 1)
        for each in said:
            await gate.feed(each)
        gate.stop()
        return [published.get_nowait() for _ in range(published.qsize())]

    assert asyncio.run(run()) == begun
    after = passed(watch(rules, masked=True), [*said, chunk(content=" more"), chunk(finish="stop")])
    assert all(each["choices"][0]["delta"] or each["choices"][0]["finish_reason"] for each in after)
    answer = whole(after)["choices"][0]
    assert answer["message"]["content"].startswith("some words") and answer["finish_reason"] == "stop"


@pytest.mark.parametrize("piece", [3, 7, 500])
def test_the_beginning_of_a_placeholder_waits_whatever_comes_between(piece: int) -> None:
    nothing: list[Chunk] = [{**HEAD, "choices": []}, chunk(content=""), chunk(role="assistant")]
    said = [each for text in pieces("To <EMAIL_1>, thanks", piece) for each in (chunk(content=text), *nothing)]
    published = passed(watch(masked=True), [*said, chunk(finish="stop")])
    spoken = [each["choices"][0]["delta"].get("content") or "" for each in published if each["choices"]]
    assert "".join(restore(each, VALUES) for each in spoken) == "To jane@example.com, thanks"


def test_a_function_called_the_old_way_is_watched_and_restored() -> None:
    arguments = '{"to": "<EMAIL_1>", "ssn": "536-22-8741"}'
    said = [chunk(function_call={"name": "mail", "arguments": ""})]
    said += [chunk(function_call={"arguments": piece}) for piece in pieces(arguments, 3)]
    published = passed(watch(masked=True), [*said, chunk(finish="function_call")])
    called = [each["choices"][0]["delta"].get("function_call") or {} for each in published]
    assert "".join(restore(call.get("arguments", ""), VALUES) for call in called) == (
        '{"to": "jane@example.com", "ssn": "[SSN]"}'
    )
    assert called[0]["name"] == "mail"
    blocked = passed(watch(), [chunk(function_call={"arguments": "zorblatting"}), chunk(finish="function_call")])
    assert whole(blocked)["choices"][0]["finish_reason"] == "content_filter"


@pytest.mark.parametrize(
    ("more", "shown"),
    [("", "so far so good " * 400), ("zorblatting", "No."), ("536-22-8741", "so far so good " * 400 + "[SSN]")],
)
def test_who_is_cut_off_while_judging_loses_nothing_and_shows_nothing_unjudged(more: str, shown: str) -> None:
    async def run() -> list[Chunk]:
        published: asyncio.Queue[Chunk] = asyncio.Queue()
        gate = Gate(watch(), published.put, 1)
        feeding = asyncio.ensure_future(gate.feed(chunk(content="so far so good " * 400 + more)))
        done, _ = await asyncio.wait([feeding], timeout=0)  # so long a text is judged in a thread
        assert not done and published.empty()
        feeding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await feeding
        await gate.end()
        await gate.end()
        return [published.get_nowait() for _ in range(published.qsize())]

    assert whole(asyncio.run(run()))["choices"][0]["message"]["content"] == shown


def test_what_waits_leaves_in_time_when_nothing_more_comes() -> None:
    async def run() -> str:
        published: asyncio.Queue[Chunk] = asyncio.Queue()
        gate = Gate(watch(window_chars=10_000, delay_ms=20), published.put, 1)
        await gate.feed(chunk(content="are you there"))
        said = await asyncio.wait_for(published.get(), 5)
        gate.stop()
        text: str = said["choices"][0]["delta"]["content"]
        return text

    assert asyncio.run(run()) == "are you there"


def test_nothing_is_watched_where_nothing_is_asked_for() -> None:
    assert watch(QUIET).idle and not watch(QUIET, masked=True).idle and not watch().idle
    inherited = watch(QUIET + "pii: {EMAIL: {action: mask}}")
    assert inherited.idle, "what is hidden from a provider is not hidden from its own answer"
