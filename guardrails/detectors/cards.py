"""Payment card numbers: an issuer's prefix, that issuer's length, and Luhn's check digit."""

from __future__ import annotations

from collections.abc import Iterator

from guardrails.detectors.patterns import Context, Pattern, alone, digits
from guardrails.verdicts import Finding

_ISSUERS: tuple[tuple[int, int, frozenset[int]], ...] = (  # first and last prefix, lengths
    (34, 34, frozenset({15})),  # American Express
    (37, 37, frozenset({15})),
    (300, 305, frozenset({14})),  # Diners Club
    (309, 309, frozenset({14})),
    (36, 36, frozenset({14})),
    (38, 39, frozenset({14})),
    (1800, 1800, frozenset({15})),  # JCB
    (2131, 2131, frozenset({15})),
    (35, 35, frozenset({16})),
    (3528, 3589, frozenset({17, 18, 19})),
    (2221, 2720, frozenset({16})),  # Mastercard
    (51, 55, frozenset({16})),
    (4, 4, frozenset({13, 16, 19})),  # Visa
    (6011, 6011, frozenset({16, 19})),  # Discover
    (644, 649, frozenset({16, 19})),
    (65, 65, frozenset({16, 19})),
    (2200, 2204, frozenset({16, 17, 18, 19})),  # Mir
    (62, 62, frozenset({16, 17, 18, 19})),  # UnionPay
    (81, 81, frozenset({16, 17, 18, 19})),
    (60, 60, frozenset({16})),  # RuPay
    (82, 82, frozenset({16})),
    (508, 508, frozenset({16})),
    (50, 50, frozenset({16, 18, 19})),  # Maestro
    (56, 58, frozenset({16, 18, 19})),
    (63, 63, frozenset({16, 18, 19})),
    (67, 67, frozenset({16, 18, 19})),
)
_SHORT_MAESTRO = ("5018", "5020", "5038", "5893", "6304", "6759", "6761", "6762", "6763")  # also of 12 to 15 digits
_TABLE = {str(prefix): lengths for first, last, lengths in _ISSUERS for prefix in range(first, last + 1)}


class Cards:
    name = "cards"

    def __init__(self) -> None:
        self._numbers = Pattern(r"[1-68](?:[ .-]?\d){11,18}")
        self._context = Context(
            "cards?|credit|debit|cc|maestro|payment|pan|card ?(?:no|number|num)", before=40, after=20
        )

    def find(self, text: str) -> Iterator[Finding]:
        context = self._context.on(text)
        for start, end in self._numbers.spans(text):
            number = digits(text[start:end])
            if not alone(text, start, end, "-") or not _grouped(text[start:end]):
                continue
            if _issued(number) and luhn(number):
                yield Finding("CREDIT_CARD", start, end, 0.99, self.name)
            elif number.startswith(_SHORT_MAESTRO) and luhn(number) and context.near(start, end):
                yield Finding("CREDIT_CARD", start, end, 0.9, self.name)


def luhn(number: str) -> bool:
    """Whether the last digit of a number of digits checks the others (ISO/IEC 7812-1, annex B)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in number[-2::-2])
    return (sum(doubled) + sum(map(int, number[-1::-2]))) % 10 == 0 and any(map(int, number))


def _issued(number: str) -> bool:
    return any(len(number) in _TABLE.get(number[:length], ()) for length in range(1, 5))


def _grouped(text: str) -> bool:
    """Whether the blanks of a number leave groups of three to seven digits, as on a card, and are all of one kind."""
    separators = {char for char in text if not char.isdigit()}
    if not separators:
        return True
    return len(separators) == 1 and all(3 <= len(group) <= 7 for group in text.split(separators.pop()))
