"""Taxpayer numbers: those with a shape of their own, others where the text names them."""

from __future__ import annotations

from collections.abc import Iterator

from guardrails.detectors.patterns import Context, Pattern, alone, digits
from guardrails.verdicts import Finding

_NAMED = (
    r"itin|ein|tin|utr|nino|n\.?i\.? number|national insurance(?: (?:number|no))?"
    r"|vat(?: ?(?:id|no|number|reg(?:istration)?))?"
    r"|(?:income |federal |employer )?tax(?:payer)?(?: ?identification)?[ -]?(?:id|number|num|no|reference)"
    r"|employer identification(?: number)?|steuer-?(?:id|nummer|identifikationsnummer)|codice fiscale|nif|nie|cpf"
    r"|cnpj|pan number|abn|tfn"
)


class TaxIds:
    name = "taxes"

    def __init__(self) -> None:
        self._itin = Pattern(r"9\d{2}[- ](?:5\d|6[0-5]|7\d|8[0-8]|9[0-24-9])[- ]\d{4}")
        self._nino = Pattern(r"[ABCEGHJ-PRSTW-Z][ABCEGHJ-NPRSTW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]")
        self._codice = Pattern(r"[A-Z]{6}\d{2}[A-EHLMPR-T]\d{2}[A-Z]\d{3}[A-Z]")
        self._any = Pattern(r"(?:[A-Z]{2})?\d(?:[ .\-/]?[0-9]){6,13}|[A-Z]{1,5}\d{4,9}[A-Z]?", ignore_case=True)
        self._named = Context(_NAMED)
        self._contrary = Context("phone|tel|fax|cards?|account|date|born|dob|zip|passport|policy|ssn", before=36)

    def find(self, text: str) -> Iterator[Finding]:
        for pattern, score in ((self._itin, 0.85), (self._nino, 0.85), (self._codice, 0.95)):
            for start, end in pattern.spans(text):
                if alone(text, start, end, "-"):
                    yield Finding("TAX_ID", start, end, score, self.name)
        if not self._named.anywhere(text):
            return
        named, contrary = self._named.on(text), self._contrary.on(text)
        for start, end in self._any.spans(text):
            if (
                len(digits(text[start:end])) >= 6
                and alone(text, start, end, "-")
                and named.distance(start) < contrary.distance(start)
            ):
                yield Finding("TAX_ID", start, end, 0.95, self.name)
