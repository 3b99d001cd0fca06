"""Attempts to talk a model out of its instructions, by the turns of phrase that they cannot do without.

Personas without rules, orders to forget the rules, requests for the system prompt, forged turns of the conversation,
encodings that hide an order, and, in what tools return, orders to the model at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import re2

from guardrails.verdicts import Finding


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of phrase and how surely it is an attempt."""

    pattern: str
    score: float


_FORGET = r"(?:ignore|disregard|forget|override|discard|neglect|overrule|bypass|pay no attention to|do not follow|don'?t follow|stop following|set aside)"
_RULES = r"(?:instructions?|prompts?|rules|guidelines|directions|commands|directives|orders|constraints|restrictions|programming|polic(?:y|ies)|safety (?:measures|features|training))"
_EARLIER = r"(?:previous|prior|above|earlier|preceding|initial|original|former|existing|system|safety|content|your|openai'?s?|these|those)"

TURNS: Mapping[str, Turn] = {
    "override": Turn(rf"\b{_FORGET}\s+(?:\w+\s+){{0,4}}{_EARLIER}\s+(?:\w+\s+){{0,3}}{_RULES}\b", 0.9),
    "override_told": Turn(
        rf"\b{_FORGET}\s+(?:all|any|everything|anything|whatever)\s+(?:that\s+)?(?:you(?:'ve| have| were| had)?(?: been)? (?:told|said|given|instructed|taught)|i (?:told|said)|(?:was|came|is) (?:said )?(?:before|above))",
        0.9,
    ),
    "new_rules": Turn(
        r"\b(?:your new|new|updated|real|actual) (?:instructions?|task|orders|directives?|rules) (?:are|is|from the (?:system|developer|admin))\b|\bnew (?:system )?(?:instructions?|prompt)\s*:",
        0.6,
    ),
    "persona": Turn(
        r"\b(?:do anything now|you are (?:now )?(?:going to (?:act|pretend|be)(?: as)? )?(?:dan|stan|dude|aim|evilbot|freebot)\b|act(?:ing)? as (?:dan|stan|dude|evilbot)\b|(?:developer|god|debug|jailbreak|dan|unrestricted|opposite|evil) mode (?:is )?(?:on|enabled|activated|output)|enable (?:developer|god|jailbreak|dan) mode|jailbroken (?:ai|model|assistant|mode|response))",
        0.9,
    ),
    "lawless": Turn(
        r"\b(?:act|pretend|roleplay|respond|answer|behave|you are|you're|become|imagine|play)\b.{0,120}\b(?:(?:without|no|free (?:of|from)|free'd from|unbound by|not bound by|ignor(?:es|ing)|has no) (?:any |all |the |its |your |typical |ethical |moral |or )*(?:restrictions?|limitations?|limits|filters?|rules|censorship|guidelines|ethics|morals|boundaries|polic(?:y|ies)|confines of ai)|unfiltered|uncensored|amoral|no moral)",
        0.85,
    ),
    "never_refuse": Turn(
        r"\b(?:never|not|don'?t|cannot|can'?t|must not|are not allowed to|without) (?:ever )?(?:refus(?:e|ing)|declin(?:e|ing)|say(?:ing)? (?:that )?(?:you|no|\"?i can)|apologi[sz](?:e|ing)|mention(?:ing)? (?:that )?(?:you are|being) an ai|break(?:ing)? character|(?:include|add)(?:ing)? (?:any )?(?:warnings?|disclaimers?)).{0,80}\b(?:request|answer|comply|anything|questions?|character|illegal|unethical|harmful|whatever|even if|no matter)",
        0.6,
    ),
    "extraction": Turn(
        r"\b(?:reveal|repeat|print|show|output|display|tell me|give me|leak|share|recite|copy|list|translate|dump|what (?:is|are|was|were))\b\W+(?:\w+\W+){0,5}?(?:system prompt|(?:your|hidden|secret|initial|original) (?:(?:initial|original|hidden|secret|system|full|exact) )*(?:instructions|prompt|rules|guidelines|directives|configuration)|(?:words|text|everything|sentences?|lines?|message|prompt|instructions) above\b)",
        0.75,
    ),
    "forged_turn": Turn(
        r"<\|im_start\|>\s*system|<<sys>>|\[system\]\s*\(?#?|^\s*#{2,}\s*(?:system|new instructions?)\b|\[/?inst\]|</?(?:system|instructions?)>|<\|(?:system|endoftext)\|>|={3,}\s*end of (?:input|text|data|prompt|document)",
        0.55,
    ),
    "forced_start": Turn(
        r"\b(?:start|begin|open|prefix)\b.{0,40}\b(?:answer|response|reply|output|sentence|message)?\b.{0,30}\bwith\b\W+(?:sure|absolutely|of course|certainly|yes)\b|\bsure,? here(?:'s| is| are)\b.{0,120}$",
        0.4,
    ),
    "hidden_order": Turn(
        r"\b(?:decode|decipher|decrypt|translate|convert)\b.{0,60}\b(?:base64|rot13|rot-13|hex|cipher|morse|binary|leet(?:speak)?)\b.{0,80}\b(?:and|then)\b.{0,20}\b(?:follow|execute|obey|do|carry out|answer|respond to|comply)\b",
        0.75,
    ),
    "two_voices": Turn(
        r"\b(?:two|2|both) (?:different )?(?:ways|responses|answers|paragraphs|outputs)\b.{0,160}\b(?:normal|standard|classic|gpt|chatgpt)\b.{0,200}\b(?:unfiltered|dan|jailbr\w+|developer|evil|opposite|without)\b",
        0.85,
    ),
}

# What a tool returned or a passage says is for the model to read, never to obey.
UNTRUSTED: Mapping[str, Turn] = {
    "to_the_model": Turn(
        r"\b(?:ai|assistant|chatbot|language model|llm|model|agent|bot|copilot|chatgpt|claude|gemini)s?\b.{0,40}\b(?:must|should|shall|please|needs? to|has to|have to|will now|is (?:now )?(?:required|instructed))\b.{0,80}\b(?:send|forward|call|click|open|visit|ignore|reply|respond|answer|tell|include|recommend|delete|run|execute|transfer|write|output|summari[sz]e|mention|not mention)",
        0.6,
    ),
    "instead": Turn(r"\binstead of (?:summari[sz]ing|answering|translating|following|responding|continuing)\b", 0.6),
    "send_away": Turn(
        r"\b(?:send|forward|post|upload|e-?mail|exfiltrate|append|transmit)\b.{0,60}\b(?:conversation|chat history|messages?|api keys?|credentials|passwords?|secrets?|user'?s? (?:data|input|messages?))\b.{0,60}(?:\bto\b|https?://)",
        0.7,
    ),
    "keep_quiet": Turn(
        r"\b(?:do not|don'?t|never) (?:tell|inform|alert|mention|reveal|show)\b.{0,40}\b(?:the )?(?:user|human|reader|anyone|this (?:note|instruction|message))\b",
        0.6,
    ),
}
MANY_SHOTS = 8  # turns of a conversation inside one text
_SHOT = r"(?im)^\s*(?:user|human|assistant|ai|bot|q|a|question|answer)\s*:"


class Jailbreaks:
    """Finds attempts in a folded text; kind is the turn's name."""

    name = "jailbreak"

    def __init__(self) -> None:
        self._turns, self._trusted = _compiled(TURNS)
        self._orders, self._untrusted = _compiled(UNTRUSTED)
        self._shot = re2.compile(_SHOT)

    def find(self, text: str, *, untrusted: bool = False) -> Iterator[Finding]:
        yield from self._found(self._trusted, self._turns, text)
        if untrusted:
            yield from self._found(self._untrusted, self._orders, text)
        if text.count(":") >= MANY_SHOTS:
            shots = list(self._shot.finditer(text))
            if len(shots) >= MANY_SHOTS:
                sure = min(0.95, 0.3 + 0.02 * len(shots))
                yield Finding("many_shots", shots[0].start(), shots[-1].end(), sure, self.name)

    def _found(self, which: re2.Set, turns: list[tuple[str, re2._Regexp[str], float]], text: str) -> Iterator[Finding]:
        for number in which.Match(text) or ():
            name, pattern, score = turns[number]
            found = pattern.search(text)
            if found is not None:
                yield Finding(name, found.start(), found.end(), score, self.name)


def _compiled(turns: Mapping[str, Turn]) -> tuple[list[tuple[str, re2._Regexp[str], float]], re2.Set]:
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    options.one_line = False
    options.max_mem = 32 << 20
    together = re2.Set.SearchSet(options)
    each = []
    for name, turn in turns.items():
        together.Add(turn.pattern)
        each.append((name, re2.compile(turn.pattern, options), turn.score))
    together.Compile()
    return each, together
