"""An answer between its provider and its caller: judged, and never cut inside a placeholder.

A stream is judged in windows, each together with what came before it, so that its text is held back for a bounded
number of characters and a bounded time. What was released stays; from where it is blocked on, a refusal stands
instead. What is not text (a role, the head of a tool call, the reason why it ends) waits for the text before it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guardrails.hiding import HIDING, hide, look
from guardrails.judging import FINE, Judgement, judge, told
from guardrails.masking import HoldBack
from guardrails.rulebook import Rulebook
from guardrails.texts import Text, answer_replaced, answer_texts
from guardrails.verdicts import Action, Finding, Stage
from mesh.job import Claim
from mesh.settings import GuardLimits
from routing.audit import Record

_LONG_CHARS = 4_000  # a text above this is judged in a thread: the loop goes on meanwhile, though more slowly
_TAIL_CHARS = 80  # at the end of a stream's window, where the rest of an address may be still to come
_HEARD = frozenset((Action.WARN, Action.BLOCK))  # what the caller is told of

Chunk = dict[str, Any]
_Voice = tuple[str, ...]  # of a choice: content, or tool_calls, 0, function, arguments
_SPOKEN = ("content", "reasoning_content", "refusal")
_CALLED = {"function": "arguments", "custom": "input"}  # kinds of tools, and the text of a call of each


@dataclass(frozen=True, slots=True)
class Hidden:
    shown: list[str]
    rests: list[str]  # of each text what waits for more
    changed: bool = False
    blocked: bool = False


class Watch:
    """The guard as it stands at one job, and what it has said of its answer."""

    def __init__(self, rules: Rulebook, claim: Claim, limits: GuardLimits) -> None:
        self._guard = rules.guard
        self.refusal = rules.policy.refusal
        self._claim = claim
        self._who = {"tenant": claim.tenant, "key": claim.key}
        self.limits = limits
        self._stance = rules.stance(Stage.RESPONSE, **self._who)
        self.watches = not self._stance.idle
        self.holds = claim.spec.masked
        self._said: dict[tuple[Action, str], None] = {}  # in the order in which it was said

    @property
    def idle(self) -> bool:
        """Whether everything may pass as it comes."""
        return not self.watches and not self.holds

    async def judge(self, texts: Sequence[Text]) -> Judgement:
        if not self._stance.judges:
            return FINE
        if self._is_long(sum(len(text.value) for text in texts)):
            judgement = await asyncio.to_thread(judge, self._guard, texts, Stage.RESPONSE, **self._who)
        else:
            judgement = judge(self._guard, texts, Stage.RESPONSE, **self._who)
        verdict = judgement.verdict
        if verdict.action is Action.BLOCK:
            self._said[Action.BLOCK, verdict.category] = None
        self._said.update(dict.fromkeys(told(verdict, self._stance)))
        return judgement

    async def hide(self, values: Sequence[str], before: Sequence[str] = (), *, tail: int = 0) -> Hidden:
        """What may be seen of these texts by the rules for personal data.

        before: what stood directly before each and was shown.
        tail: so many characters at the end of each wait for more, because they may be the beginning of some.
        """
        rules = self._stance.personal
        if not rules:
            return Hidden(list(values), [""] * len(values))
        found, rests = [], []
        for value, ahead in itertools.zip_longest(values, before, fillvalue=""):
            findings = await self._personal(ahead + value, len(ahead))
            cut = max(0, len(value) - tail)
            cut = min([cut, *(each.start for each in findings if each.start < cut < each.end)])
            found.append([[each for each in findings if each.end <= cut]])
            rests.append(value[cut:])
        texts = [
            Text(value[: len(value) - len(rest)], "assistant", f"[{at}]")  # no place: a piece of JSON is not JSON
            for at, (value, rest) in enumerate(zip(values, rests, strict=True))
        ]
        hidden = hide(texts, found, rules, for_good=True)
        for seen in hidden.seen:
            if seen.action not in HIDING:
                self._said[seen.action, seen.kind] = None
        return Hidden(
            [hidden.texts.get(text.place, text.value) for text in texts],
            rests,
            changed=bool(hidden.texts),
            blocked=bool(hidden.seen) and hidden.seen[0].action is Action.BLOCK,
        )

    async def _personal(self, text: str, shown: int) -> list[Finding]:
        """What is in a text behind its first characters, which were shown, at offsets from there."""
        if self._is_long(len(text)):
            found = await asyncio.to_thread(self._found, text)
        else:
            found = self._found(text)
        return [
            dataclasses.replace(each, start=max(0, each.start - shown), end=each.end - shown)
            for each in found
            if each.end > shown
        ]

    def _found(self, text: str) -> Sequence[Finding]:
        """What is in a text, which was judged a moment ago where anything is judged."""
        judged = self._stance.judges
        ((found,),) = look(self._guard, [Text(text, "assistant", "")], Stage.RESPONSE, **self._who, judged=judged)
        return found

    def _is_long(self, chars: int) -> bool:
        return chars * self._stance.slowness > _LONG_CHARS

    @property
    def noted(self) -> str:
        """What the caller is told, beside what was noted at the door."""
        said = [f"{action}; {category}" for action, category in self._said if action in _HEARD]
        return ", ".join([self._claim.spec.noted, *said] if self._claim.spec.noted else said)

    def records(self) -> list[Record]:
        claim = self._claim
        return [
            Record(
                what="guard.response",
                tenant=claim.tenant,
                key=claim.key,
                job=claim.id,
                category=category,
                action=action.value,
            )
            for action, category in self._said
        ]


async def whole(watch: Watch, answer: dict[str, Any]) -> dict[str, Any]:
    """A blocking answer as its caller may see it."""
    for at, choice in enumerate(answer.get("choices") or ()):
        texts = answer_texts({"choices": [choice]})
        if not texts:
            continue
        judgement = await watch.judge(texts)
        blocked = judgement.verdict.action is Action.BLOCK
        if not blocked:
            hidden = await watch.hide([text.value for text in texts])
            blocked = hidden.blocked
            if hidden.changed:
                new = {text.place: shown for text, shown in zip(texts, hidden.shown, strict=True)}
                choice = answer_replaced({"choices": [choice]}, new)["choices"][0] | {"logprobs": None}
        if blocked:
            choice = _refused(choice, watch.refusal)
        answer = answer | {"choices": [*answer["choices"][:at], choice, *answer["choices"][at + 1 :]]}
    return answer


def _refused(choice: Mapping[str, Any], refusal: str) -> dict[str, Any]:
    told = {"index": choice.get("index", 0), "finish_reason": "content_filter", "logprobs": None}
    if "message" not in choice:
        return {**told, "text": refusal}
    return {**told, "message": {"role": "assistant", "content": refusal, "refusal": None}}


@dataclass(slots=True)
class _Choice:
    """One choice of a stream."""

    index: int
    role: str = ""  # as it was told
    ended: bool = False  # nothing more of it is published
    cut: bool = False  # it was refused, and its provider has not ended it
    waiting: dict[_Voice, str] = field(default_factory=dict)  # not yet judged, in the order in which it came
    before: dict[_Voice, str] = field(default_factory=dict)  # the end of what was judged
    cleared: dict[_Voice, str] = field(default_factory=dict)  # judged, and not yet published
    held: dict[_Voice, HoldBack] = field(default_factory=dict)
    calls: dict[str, Chunk] = field(default_factory=dict)  # the heads of tool calls as they were told
    logprobs: dict[str, list[Any]] = field(default_factory=dict)
    spelt: int = 0  # characters that were published since the last token whose log probability was

    @property
    def length(self) -> int:
        return sum(map(len, self.waiting.values()))


class Gate:
    """What a watched stream passes through; `publish` is called with what may be seen, in order.

    One thing at a time passes: a chunk that comes, or the time that has passed for what waits.
    """

    def __init__(self, watch: Watch, publish: Callable[[Chunk], Any], choices: int) -> None:
        self._watch = watch
        self._publish = publish
        self._count = choices
        self._choices: dict[int, _Choice] = {}
        self._head: Chunk = {}
        self._fed = 0
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._broke: BaseException | None = None

    @property
    def closed(self) -> bool:
        """Whether nothing that still comes can be published, so that the provider need not go on."""
        choices = self._choices.values()
        return (
            len(choices) >= self._count
            and all(choice.ended for choice in choices)
            and any(choice.cut for choice in choices)
        )

    @property
    def _waits(self) -> bool:
        return any(state.waiting and not state.ended for state in self._choices.values())

    async def feed(self, chunk: Chunk) -> None:
        async with self._turn:
            if self._broke is not None:
                raise self._broke
            self._fed += 1
            if not self._head:
                self._head = {name: value for name, value in chunk.items() if name not in ("choices", "usage")}
            rest = []
            for choice in chunk.get("choices") or ():
                state = self._choices.get(choice.get("index", 0))
                if state is None:
                    state = self._choices[choice.get("index", 0)] = _Choice(choice.get("index", 0))
                if state.ended:
                    state.cut = state.cut and not choice.get("finish_reason")
                    continue
                left = self._take(state, choice)
                if left is not None:
                    await self._release(state, last=bool(left.get("finish_reason")))
                    if not state.ended:
                        rest.append(left)
                        state.ended = bool(left.get("finish_reason"))
                elif not self._watch.watches or state.length >= self._watch.limits.window_chars:
                    await self._release(state)
            if not chunk.get("choices"):
                await self._release_all(last=False)
            if rest or not chunk.get("choices"):
                await self._publish(chunk | {"choices": rest})
            self._arm()

    async def end(self) -> None:
        """Publish what still waits and may be seen: no more will come. Also after a `feed` that was cancelled."""
        async with self._turn:  # which the timer gives back only when what it took has been published
            self.stop()
            if self._broke is not None:
                raise self._broke
            await self._release_all(last=True)

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _release_all(self, *, last: bool) -> None:
        for state in self._choices.values():
            if not state.ended:
                await self._release(state, last=last)

    def _arm(self) -> None:
        if self._watch.watches and self._task is None and self._waits:
            self._task = asyncio.get_running_loop().create_task(self._in_time())

    async def _in_time(self) -> None:
        fed = 0
        while True:
            await asyncio.sleep(self._watch.limits.delay_ms / 1000)
            async with self._turn:
                try:
                    for state in self._choices.values():
                        if state.waiting and not state.ended:
                            await self._release(state, keep=fed != self._fed)  # but not for one who is silent
                except Exception as error:  # noqa: BLE001  # told to whoever feeds: nobody waits for this task
                    self._broke = error
                fed = self._fed
                if self._broke is not None or not self._waits:
                    self._task = None
                    return

    def _take(self, state: _Choice, choice: Mapping[str, Any]) -> Chunk | None:
        """Put the texts of a choice to what waits; what is left of it, where that says anything."""
        for name, values in (choice.get("logprobs") or {}).items():
            if isinstance(values, list):
                state.logprobs.setdefault(name, []).extend(values)
        left = {name: value for name, value in choice.items() if name not in ("delta", "text", "logprobs")}
        if "text" in choice:
            _wait(state, ("text",), choice["text"])
            left["text"] = ""
        if "delta" in choice:
            left["delta"] = _untold(state, choice["delta"] or {})
        return left | {"logprobs": None} if left.get("finish_reason") or left.get("delta") else None

    async def _release(self, state: _Choice, *, last: bool = False, keep: bool = True) -> None:
        """Judge what waits of a choice, and publish it or its refusal.

        Whoever is cancelled here loses nothing: what was not judged waits still, and what was not published is cleared.

        keep: the end of it, where personal data may have begun, unless it is the last.
        """
        if state.waiting and not await self._cleared(state, tail=_TAIL_CHARS if keep and not last else 0):
            state.cut = not last
            await self._refuse(state)
            return
        for voice in dict.fromkeys((*state.cleared, *(state.held if last else ()))):
            text = self._spoken(state, voice, state.cleared.pop(voice, ""), last=last)
            if text:
                await self._say(state, _delta(voice, text), logprobs=_leaving(state, voice, text, last=last))

    def _spoken(self, state: _Choice, voice: _Voice, text: str, *, last: bool) -> str:
        if not self._watch.holds:
            return text
        if voice not in state.held:
            state.held[voice] = HoldBack()
        return state.held[voice].feed(text) + (state.held[voice].flush() if last else "")

    async def _cleared(self, state: _Choice, *, tail: int) -> bool:
        """Whether what waited may be seen; then it is cleared, but for what waits for more."""
        rests: Sequence[str] = [""] * len(state.waiting)
        shown: Sequence[str] = list(state.waiting.values())
        if self._watch.watches:
            overlap = self._watch.limits.overlap_chars
            before = [state.before.get(voice, "") for voice in state.waiting]
            texts = [
                Text(ahead + text, "assistant", ".".join(voice))
                for ahead, (voice, text) in zip(before, state.waiting.items(), strict=True)
            ]
            judgement = await self._watch.judge(texts)
            if judgement.verdict.action is Action.BLOCK:
                return False
            hidden = await self._watch.hide(list(state.waiting.values()), before, tail=tail)
            if hidden.blocked:
                return False
            if hidden.changed:
                state.logprobs.clear()
            shown, rests = hidden.shown, hidden.rests
            for text, voice, rest in zip(texts, state.waiting, rests, strict=True):
                passed = text.value[: len(text.value) - len(rest)]
                state.before[voice] = passed[-overlap:] if overlap else ""
        for voice, piece in zip(state.waiting, shown, strict=True):
            state.cleared[voice] = state.cleared.get(voice, "") + piece
        state.waiting = {voice: rest for voice, rest in zip(state.waiting, rests, strict=True) if rest}
        return True

    async def _refuse(self, state: _Choice) -> None:
        state.ended = True
        refusal = self._watch.refusal
        text = self._head.get("object") == "text_completion"
        await self._say(state, {"text": refusal} if text else {"delta": {"content": refusal}})
        end: Chunk = {"text": ""} if text else {"delta": {}}
        await self._say(state, end, "content_filter")

    async def _say(
        self, state: _Choice, said: Chunk, finish: str | None = None, *, logprobs: Chunk | None = None
    ) -> None:
        choice = {"index": state.index, **said, "logprobs": logprobs or None, "finish_reason": finish}
        await self._publish({**self._head, "choices": [choice]})


def _wait(state: _Choice, voice: _Voice, text: str) -> None:
    if text:
        state.waiting[voice] = state.waiting.get(voice, "") + text


def _untold(state: _Choice, delta: Mapping[str, Any]) -> Chunk:
    """What of a delta is no text and was not told before: a role, which may come with empty texts; heads of calls."""
    rest: Chunk = {}
    for name, value in delta.items():
        if name == "tool_calls":
            heads = [head for call in value or () if (head := _head_of(state, call))]
            if heads:
                rest[name] = heads
        elif name == "function_call" and value:
            _wait(state, (name, "arguments"), value.get("arguments") or "")
            if value.get("name"):
                rest[name] = {"name": value["name"], "arguments": ""}
        elif name in _SPOKEN and value:
            parts = answer_texts({"choices": [{"delta": {name: value}}]})
            _wait(state, (name,), value if isinstance(value, str) else "".join([part.value for part in parts]))
        else:
            rest[name] = value
    if rest.get("role") in (None, state.role):
        return {name: value for name, value in rest.items() if value and name != "role"}
    state.role = rest["role"]
    return rest


def _head_of(state: _Choice, call: Mapping[str, Any]) -> Chunk:
    """What of a piece of a tool call is not its arguments, where that is anything new."""
    index = str(call.get("index", 0))
    head = {name: value for name, value in call.items() if name not in _CALLED and value is not None}
    for kind, text in _CALLED.items():
        said = call.get(kind) or {}
        _wait(state, ("tool_calls", index, kind, text), said.get(text) or "")
        named = {name: value for name, value in said.items() if name != text and value}
        if named:
            head[kind] = {**named, text: ""}
    # Some tell the whole head with every piece. A name may itself come in pieces, and these have no id.
    if not head.get("id"):
        return head if not _CALLED.keys().isdisjoint(head) else {}
    known = state.calls.get(index)
    state.calls[index] = head
    return {} if known is not None and known.items() >= head.items() else head


def _leaving(state: _Choice, voice: _Voice, text: str, *, last: bool) -> Chunk:
    """The log probabilities of the tokens of what is said now: those of what waits would tell what is not judged."""
    if voice == ("text",):
        tokens, names = state.logprobs.get("tokens", []), list(state.logprobs)
    elif voice[0] in state.logprobs:
        tokens, names = [each.get("token") or "" for each in state.logprobs[voice[0]]], [voice[0]]
    else:
        return {}
    state.spelt += len(text)
    count = len(tokens)
    if not last:
        # From both ends: some servers leave blanks out of their tokens, others spell out bytes.
        ends = list(itertools.accumulate(map(len, tokens)))
        waits = len(state.waiting.get(voice, ""))
        count = sum(end <= state.spelt and ends[-1] - end >= waits for end in ends)
        state.spelt -= ends[count - 1] if count else 0
    return {name: _first(state.logprobs[name], count) for name in names} if count else {}


def _first(values: list[Any], count: int) -> list[Any]:
    """The first of these, which then are gone."""
    first = values[:count]
    del values[:count]
    return first


def _delta(voice: _Voice, text: str) -> Chunk:
    if voice[0] == "text":
        return {"text": text}
    if len(voice) == 1:
        return {"delta": {voice[0]: text}}
    if voice[0] == "function_call":
        return {"delta": {voice[0]: {voice[1]: text}}}
    _, index, kind, name = voice
    return {"delta": {"tool_calls": [{"index": int(index), kind: {name: text}}]}}
