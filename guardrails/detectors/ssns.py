"""Social Security Numbers of the United States, by the rules of the Social Security Administration.

No area 000, 666 or 900-999, no group 00, no serial 0000. An area of 900-999 (a taxpayer number) counts where the text
says that it is a Social Security Number, and a number without separators counts only there.
"""

from __future__ import annotations

from collections.abc import Iterator

from guardrails.detectors.patterns import FAR, Context, Pattern, alone, digits
from guardrails.verdicts import Finding

_SURE = {"-": 0.9, ".": 0.7, " ": 0.58}  # by what divides it, where nothing is said of it
_ADVERTISED = ("078051120", "219099999")  # printed in wallets and leaflets, nobody's


class Ssns:
    name = "ssns"

    def __init__(self) -> None:
        self._numbers = Pattern(r"\d{3}[-. ]\d{2}[-. ]\d{4}|\d{9}")
        self._social = Context(
            r"ssns?|ss ?#|ss no|soc(?:ial)?(?: ?sec(?:urity)?)?(?: ?(?:num(?:ber)?|no|nbr|id))?|socialnum(?:ber)?"
            r"|national id",
            before=40,
        )
        self._other = Context(
            r"tax|itin|ein|phone|tel|fax|mobile|zip|order|invoice|ref|case|tracking|part|serial|sku|isbn|routing|policy|licen[sc]e"
            r"|passport|model|version|id card|id|otp|pin|suite|ste|apt|unit|box|flat|floor|room",
            before=24,
        )

    def find(self, text: str) -> Iterator[Finding]:
        said, another = self._social.on(text), self._other.on(text)
        for start, end in self._numbers.spans(text):
            number = digits(text[start:end])
            if not alone(text, start, end, "-.") or not _possible(number):
                continue
            social, other = said.distance(start), another.distance(start)
            if social < FAR and social <= other:
                yield Finding("SSN", start, end, 0.98, self.name)
            elif other == FAR and number < "9" and _divided(text, start, end):
                yield Finding("SSN", start, end, _SURE[text[start + 3]], self.name)


def _divided(text: str, start: int, end: int) -> bool:
    """Whether it is divided as such numbers are, and is not three numbers of a list."""
    listed = text[max(0, start - 2) : start].strip().isdigit() or text[end : end + 2].strip().isdigit()
    divider = text[start + 3]
    return not divider.isdigit() and divider == text[start + 6] and not (divider == " " and listed)


def _possible(number: str) -> bool:
    area, group, serial = number[:3], number[3:5], number[5:]
    return area not in ("000", "666") and group != "00" and serial != "0000" and number not in _ADVERTISED
