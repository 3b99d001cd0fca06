"""The place where requests are judged before they are queued, and answers before they are published.

The door calls `judge` with the texts of a request and the worker with those of an answer, so a detector that is added
takes part in every way of use at once.
"""

from __future__ import annotations

import enum
import hashlib
import itertools
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import re2

from guardrails.detectors.heads import Floats, Heads, Weights
from guardrails.detectors.jailbreak import Jailbreaks
from guardrails.detectors.keywords import Keywords
from guardrails.detectors.lexicon import Lexicon
from guardrails.detectors.operators import Patterns
from guardrails.normalise import PLAIN, Normaliser, View
from guardrails.policy import CATEGORIES, JAILBREAK, Policy, Rules, compiled
from guardrails.texts import Text
from guardrails.verdicts import ALLOWED, Action, Finding, Stage, Verdict
from guardrails.wordpiece import WordPiece

INJECTION = "PROMPT_INJECTION"
NOTHING = Policy()  # looks for nothing
REMEMBERED = 4_096  # verdicts of texts
_PLAIN = 0.97  # the score from which the application's own text counts as an attempt
_SURROGATE = re.compile("[\ud800-\udfff]")
_FEW = 3  # pieces below which a decoded view says nothing
_FINDINGS = 200  # of one text
_WORTH = 0.3  # the score from which a window's place is looked up
_TURNS = 8  # of the user's last ones that are looked at for escalation


class Finder(Protocol):
    """Finds personal data; the findings don't overlap and come in order."""

    def find(self, text: str) -> list[Finding]: ...

    def is_phi(self, text: str, findings: Iterable[Finding]) -> bool:
        """Whether it is health data of a person; findings: all that `find` found in it."""


class Sentences(Protocol):
    """Turns a text into a vector, or says None when it has no time for it."""

    def vector(self, pieces: Sequence[int]) -> Floats | None: ...


@dataclass(frozen=True)
class Parts:
    """What no policy changes: loaded once (a quarter of a second, some 20 MB), shared by every guard of a process."""

    pieces: WordPiece
    normaliser: Normaliser
    lexicon: Lexicon
    heads: Heads
    jailbreaks: Jailbreaks

    @classmethod
    def load(cls, weights: Weights | None = None) -> Parts:
        """weights: those that are shipped, where none are given."""
        pieces = WordPiece()
        heads = Heads(weights or Weights.load())
        return cls(pieces, Normaliser(pieces.ranks), Lexicon(), heads, Jailbreaks())


class Trust(enum.Enum):
    """Who wrote a text."""

    APPLICATION = "application"  # may give the model orders: only the plainest attempt counts
    USER = "user"
    NOBODY = "nobody"  # a tool's result, a retrieved passage: may give none


_TRUST = {"system": Trust.APPLICATION, "developer": Trust.APPLICATION, "tool": Trust.NOBODY}


@dataclass(frozen=True, slots=True)
class _Scope:
    """The rules for one stage, tenant and key, ready to be applied."""

    rules: Rules
    keywords: Keywords
    patterns: Patterns
    treated: frozenset[str]  # kinds of personal data about which something is done
    private: bool  # whether health data of a person makes a text private


@dataclass(slots=True)
class _Reading:
    """What the heads make of one view of a text."""

    view: View
    pieces: list[int]
    signs: list[int]
    scores: Floats  # raw, by category
    windows: tuple[tuple[int, int], ...]
    doubt: float  # above 0 where the sentence model is to be asked

    def urgency(self) -> tuple[bool, float]:
        """What goes first of several in doubt: what was decoded, since the text around it is often none."""
        return self.doubt > 0 and self.view.how != PLAIN, self.doubt


class Guard:
    """Judges texts by a policy; may be used from any thread. To have it elsewhere, build it there from the policy.

    personal: finds personal data of every type; None finds none.
    sentences: is asked about texts in doubt; None is never asked.
    """

    def __init__(
        self,
        policy: Policy = NOTHING,
        personal: Finder | None = None,
        sentences: Sentences | None = None,
        parts: Parts | None = None,
    ) -> None:
        self.policy = policy
        self.parts = parts or Parts.load()
        self._personal = personal
        self._sentences = sentences if policy.embedding != "off" else None
        self._allowed = [compiled(pattern) for pattern in policy.allow.patterns]
        self._allowed += [compiled(rf"\b{re2.escape(text)}\b") for text in policy.allow.texts]
        self._scopes: dict[tuple[Stage, str, str], _Scope] = {}
        self._seen: OrderedDict[tuple[bytes, Stage, Trust, str, str], Verdict] = OrderedDict()
        self._lock = threading.Lock()

    def under(self, policy: Policy) -> Guard:
        """The same guard under another policy, at once."""
        return Guard(policy, self._personal, self._sentences, self.parts)

    def check(self, text: str, stage: Stage, *, tenant: str = "", key: str = "", untrusted: bool = False) -> Verdict:
        """The verdict on one text; the findings' offsets are the text's.

        untrusted: it was written by neither the user nor the application (a tool's result, a retrieved passage).
        """
        return self._known(text, stage, tenant, key, Trust.NOBODY if untrusted else Trust.USER)

    def _known(self, text: str, stage: Stage, tenant: str, key: str, trust: Trust) -> Verdict:
        if not text or text.isspace():
            return ALLOWED
        tenant, key = self.policy.scope(tenant=tenant, key=key)
        mark = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        known = (mark, stage, trust, tenant, key)
        with self._lock:
            verdict = self._seen.get(known)
            if verdict is not None:
                self._seen.move_to_end(known)
                return verdict
        verdict = self._judged(text, self._scope(stage, tenant, key), trust)
        with self._lock:
            self._seen[known] = verdict
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return verdict

    def judge(self, texts: Sequence[Text], stage: Stage, *, tenant: str = "", key: str = "") -> Verdict:
        """The verdict on all texts of one request or answer: the worst wins, and the findings are that text's.

        A text that was judged before, in an earlier turn of the conversation, is not scanned again.
        """
        return self._worst([verdict for _, verdict in self.verdicts(texts, stage, tenant=tenant, key=key)])

    def verdicts(
        self, texts: Sequence[Text], stage: Stage, *, tenant: str = "", key: str = ""
    ) -> list[tuple[Text, Verdict]]:
        """The verdict on each text, in order; the last of the user's also bears what only the conversation shows."""
        judged = [
            (text, self._known(text.value, stage, tenant, key, _TRUST.get(text.role, Trust.USER))) for text in texts
        ]
        rules = self._scope(stage, *self.policy.scope(tenant=tenant, key=key)).rules
        if stage is Stage.REQUEST and rules.jailbreak.on and rules.jailbreak.conversation is not False:
            last = max((index for index, (text, _) in enumerate(judged) if text.role == "user"), default=None)
            hint = _conversation(judged)
            if last is not None and hint > judged[last][1].scores.get(INJECTION, 0.0):
                text, verdict = judged[last]
                judged[last] = (text, self._hinted(verdict, rules, hint, len(text.value)))
        return judged

    def personal(self, text: str, stage: Stage, *, tenant: str = "", key: str = "") -> list[Finding]:
        """The personal data in a text whose type is looked for, in order and not overlapping."""
        rules = self._scope(stage, *self.policy.scope(tenant=tenant, key=key)).rules
        return self._wanted(self._personal_in(self._blanked(text)), rules)

    def steps(self, stage: Stage, *, tenant: str = "", key: str = "") -> int:
        """How many steps the operator's patterns take at each character of a text written to make them slow."""
        allowed: int = sum(pattern.programsize for pattern in self._allowed)
        return allowed + self._scope(stage, *self.policy.scope(tenant=tenant, key=key)).patterns.steps

    def judge_request(self, body: Mapping[str, Any]) -> Verdict:
        """The verdict on a request body in OpenAI's shape."""
        return ALLOWED

    def judge_answer(self, body: Mapping[str, Any]) -> Verdict:
        """The verdict on an answer or one chunk of it, in OpenAI's shape."""
        return ALLOWED

    def _scope(self, stage: Stage, tenant: str, key: str) -> _Scope:
        """tenant and key as `Policy.scope` gives them, so there are no more scopes than the policy has names."""
        scope = self._scopes.get((stage, tenant, key))
        if scope is None:
            rules = self.policy.resolved(stage, tenant=tenant, key=key)
            on = {name: rule for name, rule in rules.categories.items() if rule.on}
            fold = self.parts.normaliser.plain
            scope = _Scope(
                rules,
                Keywords({name: [fold(word).folded for word in rule.keywords or ()] for name, rule in on.items()}),
                Patterns({name: rule.patterns or () for name, rule in on.items()}),
                frozenset(self.policy.treated(stage, tenant=tenant, key=key)),
                stage is Stage.REQUEST and self.policy.phi.force_private,
            )
            self._scopes[(stage, tenant, key)] = scope
        return scope

    def _blanked(self, text: str) -> str:
        """The text with what is always allowed blanked out, so that nothing finds it; offsets stay."""
        text = _SURROGATE.sub("\ufffd", text)
        for pattern in self._allowed:
            text = pattern.sub(lambda found: " " * len(found.group()), text)
        return text

    def _personal_in(self, text: str) -> list[Finding]:
        return [] if self._personal is None else self._personal.find(text)

    @staticmethod
    def _wanted(findings: Iterable[Finding], rules: Rules) -> list[Finding]:
        return [found for found in findings if found.kind in rules.pii and rules.pii[found.kind].on]

    def _judged(self, text: str, scope: _Scope, trust: Trust) -> Verdict:
        text = self._blanked(text)
        rules = scope.rules
        views = self.parts.normaliser.views(text)
        readings = [reading for view in views if (reading := self._read(view)) is not None]
        findings = [found for view in views for found in self._said(view, scope, trust)]
        doubtful = max(readings, key=_Reading.urgency, default=None)
        unsure = doubtful is not None and doubtful.doubt > 0
        if doubtful is not None and (unsure or self.policy.embedding == "always"):
            self._ask(doubtful)
        findings += [found for reading in readings for found in self._scored(reading)]
        personal = self._personal_in(text) if scope.treated or scope.private else []
        treated = [found for found in personal if found.kind in scope.treated]
        verdict = self._decided(findings, treated, rules, trust)
        private = scope.private and self._personal is not None and self._personal.is_phi(text, personal)
        return replace(verdict, private=private, unsure=unsure and self._sentences is None)

    def _said(self, view: View, scope: _Scope, trust: Trust) -> Iterator[Finding]:
        """What rules find in a view."""
        jailbreak = scope.rules.jailbreak
        found = [*scope.keywords.find(view.folded), *scope.patterns.find(view.text)]
        if jailbreak.on:
            untrusted = trust is Trust.NOBODY and jailbreak.untrusted is not False
            found += self.parts.jailbreaks.find(view.folded, untrusted=untrusted)
        return (_placed(each, view) for each in found)

    def _read(self, view: View) -> _Reading | None:
        """What the heads make of a view; nothing where it has no words, or too few for a decoded one."""
        pieces = self.parts.pieces.pieces(view.folded)
        if not pieces or (view.how != PLAIN and len(pieces) < _FEW):
            return None
        signs = self.parts.lexicon.signs(view.folded)
        raw = self.parts.heads.raw(pieces, signs)
        doubt = 0.0
        if self.policy.embedding != "off":
            doubt = self.parts.heads.doubt(raw.scores)
        return _Reading(view, pieces, signs, raw.scores, raw.windows, doubt)

    def _ask(self, reading: _Reading) -> None:
        """Put the sentence model's word into a reading, where there is one and it has the time."""
        vector = None if self._sentences is None else self._sentences.vector(reading.pieces)
        if vector is not None:
            reading.scores = self.parts.heads.mixed(reading.scores, vector, reading.signs)

    def _scored(self, reading: _Reading) -> Iterator[Finding]:
        heads, view = self.parts.heads, reading.view
        spans: list[tuple[int, int]] = []
        for name, score, (first, last) in zip(heads.names, heads.scaled(reading.scores), reading.windows, strict=True):
            start, end = 0, len(view.folded)
            if last and score > _WORTH:
                spans = spans or self.parts.pieces.spans(view.folded)
                start, end = spans[first][0], spans[last - 1][1]
            yield _placed(Finding(name, start, end, round(float(score), 6), Heads.name), view)

    def _decided(self, findings: Sequence[Finding], personal: Iterable[Finding], rules: Rules, trust: Trust) -> Verdict:
        scores = dict.fromkeys(CATEGORIES, 0.0)
        flagged: dict[str, Action] = {}
        kept: list[Finding] = []
        for found in findings:
            attempt = found.detector == Jailbreaks.name
            name = INJECTION if attempt else found.kind
            scores[name] = max(scores[name], found.score)
            rule = rules.jailbreak if attempt else rules.categories.get(name)
            if rule is None or not rule.on or rule.does is Action.ALLOW:
                continue
            least = rule.least_score
            if trust is Trust.APPLICATION and name == INJECTION:
                least = max(least, _PLAIN)
            if found.score >= least:
                flagged[JAILBREAK if attempt else name] = rule.does
                if len(kept) < _FINDINGS:
                    kept.append(found)
        for found in personal:
            kept.append(found)
            flagged[found.kind] = rules.pii[found.kind].does
        return _verdict(scores, flagged, kept)

    def _hinted(self, verdict: Verdict, rules: Rules, hint: float, length: int) -> Verdict:
        """The verdict once the conversation is known to be an attempt with this score."""
        scores = {**verdict.scores, INJECTION: hint}
        if hint < rules.jailbreak.least_score:
            return replace(verdict, scores=scores)
        flagged = {JAILBREAK: rules.jailbreak.does}
        found = Finding("conversation", 0, length, hint, Jailbreaks.name)
        raised = _verdict(scores, flagged, [*verdict.findings, found])
        worse = raised if raised.action.weight > verdict.action.weight else verdict
        return replace(
            raised,
            action=worse.action,
            category=worse.category,
            flagged=tuple(dict.fromkeys((*verdict.flagged, *raised.flagged))),
            private=verdict.private,
        )

    @staticmethod
    def _worst(verdicts: Sequence[Verdict]) -> Verdict:
        if not verdicts:
            return ALLOWED
        worst = max(verdicts, key=lambda verdict: verdict.action.weight)
        scores: dict[str, float] = {}
        for verdict in verdicts:
            for name, score in verdict.scores.items():
                scores[name] = max(score, scores.get(name, 0.0))
        flagged = tuple(dict.fromkeys(name for verdict in verdicts for name in verdict.flagged))
        private = any(verdict.private for verdict in verdicts)
        return replace(worst, scores=scores, flagged=flagged, private=private)


def _placed(found: Finding, view: View) -> Finding:
    """A finding at a view's offsets at the text's."""
    start, end = view.place(found.start, found.end)
    return replace(found, start=start, end=end)


def _verdict(scores: dict[str, float], flagged: dict[str, Action], findings: Sequence[Finding]) -> Verdict:
    """flagged: by kind, what is done; an attempt to break out is shown as PROMPT_INJECTION."""
    shown: dict[str, Action] = {}
    for kind, action in flagged.items():
        name = INJECTION if kind == JAILBREAK else kind
        shown[name] = max(action, shown.get(name, Action.ALLOW), key=lambda each: each.weight)
    shown = {name: action for name, action in shown.items() if action is not Action.ALLOW}
    if not shown:
        return Verdict(Action.ALLOW, scores=scores)
    category = max(shown, key=lambda name: (shown[name].weight, scores.get(name, 1.0)))
    ordered = tuple(sorted(findings, key=lambda found: (found.start, found.end)))
    return Verdict(shown[category], category, scores, tuple(shown), ordered)


def _conversation(judged: Sequence[tuple[Text, Verdict]]) -> float:
    """How much a conversation as a whole looks like an attempt: harm that grows turn by turn, or many harmful shots."""
    asked = [
        max((score for name, score in verdict.scores.items() if name != "OFFENSIVE_LANGUAGE"), default=0.0)
        for text, verdict in judged
        if text.role == "user"
    ]
    recent = asked[-_TURNS:]
    climbing = len(recent) > 2 and recent[-1] == max(recent) and recent[-1] > 0.25
    rises = sum(later > earlier + 0.05 for earlier, later in itertools.pairwise(recent))
    crescendo = min(0.95, recent[-1] + 0.1 * rises) if climbing and rises > 1 else 0.0
    answered = sum(
        max(verdict.scores.values(), default=0.0) > 0.4 for text, verdict in judged if text.role == "assistant"
    )
    shots = min(0.95, 0.2 + 0.05 * answered) if answered > 5 else 0.0
    return max(crescendo, shots)
