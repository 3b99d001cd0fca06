"""Medical record, patient and health insurance numbers."""

from __future__ import annotations

from collections.abc import Iterator

from guardrails.detectors.patterns import Context, Pattern, alone, digits
from guardrails.verdicts import Finding

_NAMED = (
    r"mrn|m\.r\.n\.|(?:medical|med|patient) ?rec(?:ord)?s?(?: ?(?:numbers?|no|num|nbr|id|#|management))*"
    r"|patient ?(?:id|no|number|identifier|file)|chart ?(?:no|number|id)|hospital ?(?:no|number)"
    r"|health ?(?:plan|card|insurance|record)?(?: ?beneficiary)? ?(?:id|no|numbers?)|nhs(?: ?(?:no|number))?"
    r"|medicare(?: ?(?:id|no|number))?|medicaid(?: ?(?:id|no|number))?|member ?(?:id|no|number)"
    r"|subscriber ?(?:id|no|number)"
)


class MedicalRecords:
    name = "medical"

    def __init__(self) -> None:
        self._prefixed = Pattern(r"(?:MRN-?\d{4,10}|MED-?\d{6,10})")
        self._numbers = Pattern(r"[A-Z]{0,4}-?\d(?:[ -]?\d){3,11}[A-Z]?", ignore_case=True)
        self._named = Context(_NAMED, before=40)
        self._contrary = Context(
            "npi|dob|born|phone|tel|contact|fax|dated?|zip|age|ip|ssn|licen[sc]e|plate|employee|admitted|device|certificate|at",
            before=40,
        )

    def find(self, text: str) -> Iterator[Finding]:
        for start, end in self._prefixed.spans(text):
            if alone(text, start, end, "-"):
                yield Finding("MEDICAL_RECORD", start, end, 0.97, self.name)
        if not self._named.anywhere(text):
            return
        named, contrary = self._named.on(text), self._contrary.on(text)
        for start, end in self._numbers.spans(text):
            if (
                len(digits(text[start:end])) >= 4
                and alone(text, start, end, "-/.:")
                and named.distance(start) < contrary.distance(start)
            ):
                yield Finding("MEDICAL_RECORD", start, end, 0.93, self.name)
