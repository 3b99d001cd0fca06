"""Personal data and secrets in a text.

Where findings overlap the surest counts: the higher score, then the kind that comes first in KINDS, then the longer,
then the earlier. What of the other sticks out stays a finding of its own, so that nothing is masked by half.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from guardrails.detectors import Detector
from guardrails.detectors.births import DatesOfBirth
from guardrails.detectors.cards import Cards
from guardrails.detectors.emails import Emails
from guardrails.detectors.ibans import Ibans
from guardrails.detectors.ips import IpAddresses
from guardrails.detectors.medical import MedicalRecords
from guardrails.detectors.names import KINDS as NAMED
from guardrails.detectors.names import Names
from guardrails.detectors.passports import Passports
from guardrails.detectors.phones import Phones
from guardrails.detectors.secrets import Secrets
from guardrails.detectors.ssns import Ssns
from guardrails.detectors.taxes import TaxIds
from guardrails.folding import fold
from guardrails.health import HealthWords
from guardrails.verdicts import Finding

_DETECTORS: Mapping[str, Callable[[], Detector]] = {
    "API_KEY": Secrets,
    "CREDIT_CARD": Cards,
    "IBAN": Ibans,
    "SSN": Ssns,
    "EMAIL": Emails,
    "IP_ADDRESS": IpAddresses,
    "MEDICAL_RECORD": MedicalRecords,
    "PASSPORT": Passports,
    "TAX_ID": TaxIds,
    "DOB": DatesOfBirth,
    "PHONE": Phones,
}
KINDS = (*_DETECTORS, "ADDRESS", "NAME", "LOCATION")
_RANKS = {kind: rank for rank, kind in enumerate(KINDS)}


class PersonalData:
    """Finds personal data of some kinds, or of all; may be shared by threads.

    kinds: some of KINDS.
    more: further detectors, whose findings all count, such as `guardrails.detectors.presidio.Presidio()`.
    """

    def __init__(self, kinds: Collection[str] | None = None, more: Sequence[Detector] = ()) -> None:
        wanted = frozenset(KINDS if kinds is None else kinds)
        self._unwanted = frozenset(KINDS) - wanted
        self._detectors = [make() for kind, make in _DETECTORS.items() if kind in wanted]
        if not wanted.isdisjoint(NAMED):
            self._detectors.append(Names.read())
        self._more = tuple(more)
        self._health = HealthWords()

    def find(self, text: str) -> list[Finding]:
        """What is in the text, in its order and without overlaps."""
        folded = fold(text)
        found = [
            finding
            for detector in self._detectors
            for finding in detector.find(folded.text)
            if finding.kind not in self._unwanted
        ]
        found += [finding for detector in self._more for finding in detector.find(folded.text)]
        return [_moved(finding, *folded.span(finding.start, finding.end)) for finding in _apart(found, folded.text)]

    def is_phi(self, text: str, findings: Iterable[Finding]) -> bool:
        """Whether the text is protected health information: only private providers may see it.

        findings: those of `find`, of all kinds; without them nobody can be told by the text.
        """
        return self._health.tell_of(fold(text).text, findings)


def _moved(finding: Finding, start: int, end: int) -> Finding:
    return Finding(finding.kind, start, end, finding.score, finding.detector)


def _apart(found: Iterable[Finding], text: str) -> list[Finding]:
    kept: list[Finding] = []
    starts: list[int] = []
    for finding in sorted(found, key=_surest_first):
        for start, end in _free(finding, kept, starts):
            piece = text[start:end]
            start, end = start + len(piece) - len(piece.lstrip(" \n,;")), end - len(piece) + len(piece.rstrip(" \n,;"))
            if sum(map(str.isalnum, text[start:end])) >= 2:
                place = bisect.bisect(starts, start)
                starts.insert(place, start)
                kept.insert(place, _moved(finding, start, end))
    return kept


def _surest_first(finding: Finding) -> tuple[float, int, int, int]:
    return -finding.score, _RANKS.get(finding.kind, len(_RANKS)), finding.start - finding.end, finding.start


def _free(finding: Finding, kept: Sequence[Finding], starts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The parts of a finding that none of those kept covers."""
    start = finding.start
    place = max(0, bisect.bisect(starts, start) - 1)
    taken = []
    while place < len(kept) and kept[place].start < finding.end:
        taken.append(kept[place])
        place += 1
    for other in taken:
        if other.end <= start:
            continue
        if other.start > start:
            yield start, other.start
        start = other.end
    if start < finding.end:
        yield start, finding.end
