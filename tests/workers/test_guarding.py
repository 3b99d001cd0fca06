"""What passes the gate of a watched stream: in order, whole, never cut inside a placeholder, and nothing forbidden."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from guardrails import rulebook
from guardrails.masking import restore
from mesh.job import Claim, Spec, Target
from mesh.settings import GuardLimits
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
HEAD = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
VALUES = {"<EMAIL_1>": "jane@example.com", "<CREDIT_CARD_12>": "4111"}


def watch(rules: str = RULES, *, masked: bool = False, **limits: int) -> Watch:
    spec = Spec(endpoint="chat.completions", model="m", targets=(Target("p", "m"),), masked=masked)
    claim = Claim("job-1", 1, 1, 0, 1000, 0, "p", "t", spec, b"", False, "", False, "k")
    return Watch(
        rulebook.read(rules, "rules"), claim, GuardLimits(**{"window_chars": 30, "overlap_chars": 40, **limits})
    )


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
