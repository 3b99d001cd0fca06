"""Bank accounts as IBAN (ISO 13616): a country, that country's length, and the remainder 1 by 97."""

from __future__ import annotations

from collections.abc import Iterator

from guardrails.detectors.patterns import Pattern, alone
from guardrails.verdicts import Finding

_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FO FI GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH CR HR LI LV", 22: "BG BH DE GB GE IE ME RS", 23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


class Ibans:
    name = "ibans"

    def __init__(self) -> None:
        self._candidates = Pattern(r"[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,29}", ignore_case=True)

    def find(self, text: str) -> Iterator[Finding]:
        for start, end in self._candidates.spans(text):
            stop = _end(text, start, end)
            if stop and alone(text, start, stop) and valid(text[start:stop]):
                yield Finding("IBAN", start, stop, 0.99, self.name)


def valid(iban: str) -> bool:
    compact = iban.replace(" ", "").replace("-", "").upper()
    return int("".join([str(int(char, 36)) for char in compact[4:] + compact[:4]])) % 97 == 1


def _end(text: str, start: int, end: int) -> int:
    """Where an account of its country ends, or 0: what follows it looks like more of it."""
    missing = _LENGTHS.get(text[start : start + 2].upper(), 0)
    for place in range(start, end):
        missing -= text[place].isalnum()
        if missing == 0:
            return place + 1
    return 0
