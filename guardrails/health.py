"""Protected health information: a medical record's number, or an illness close to somebody who can be told by it."""

from __future__ import annotations

from collections.abc import Iterable

from guardrails.detectors.patterns import Pattern
from guardrails.verdicts import Finding

_IDENTIFYING = frozenset({"NAME", "SSN", "DOB", "EMAIL", "PHONE", "ADDRESS", "PASSPORT", "TAX_ID"})
_NEAR = 240  # characters, three sentences or so

_WORDS = (
    r"diagnos(?:is|es|ed|tic)|prognos[ie]s|prescri(?:bed?|ption)s?|symptoms?|discharge summary|chief complaint"
    r"|medical history|icd-?(?:9|10)|patients?|chemotherapy|radiotherapy|dialysis|biopsy|surgery|surgical|mri"
    r"|ct scan|ultrasound|lab results?|blood (?:test|pressure|sugar|type)|hba1c|vaccinat(?:ed|ion)|immuni[sz]ation"
    r"|allerg(?:y|ies|ic)|therap(?:y|ist)|psychiatr(?:y|ic|ist)|counsell?ing|rehab|diabet(?:es|ic)|hypertension"
    r"|hypotension|cancer|carcinoma|lymphoma|leuk[ae]+mia|melanoma|tumou?r|metasta\w+|asthma|copd|pneumonia"
    r"|bronchitis|tuberculosis|hiv|aids|hepatitis|covid(?:-19)?|influenza|sepsis|stroke|seizures?|epilepsy"
    r"|migraines?|dementia|alzheimer'?s?|parkinson'?s?|multiple sclerosis|schizophreni[ac]|bipolar"
    r"|depress(?:ion|ed|ive)|anxiety|ptsd|adhd|autis(?:m|tic)|anorexia|bulimia|arthritis|osteoporosis|lupus"
    r"|crohn'?s|colitis|cirrhosis|kidney (?:failure|disease)|renal|cardiac|cardiomyopathy|arrhythmia"
    r"|heart (?:attack|failure|disease)|angina|an[ae]+mia|thrombosis|embolism|fracture|concussion|pregnan(?:t|cy)"
    r"|miscarriage|abortion|infertility|ivf|syphilis|gonorrh[oe]+a|chlamydia|herpes|addict(?:ion|ed)|alcoholism"
    r"|overdose|insulin|metformin|lisinopril|atorvastatin|warfarin|prednisone|sertraline|fluoxetine|lithium"
    r"|methadone|morphine|oxycodone|amoxicillin|penicillin|levothyroxine|omeprazole"
)


class HealthWords:
    def __init__(self) -> None:
        self._words = Pattern(rf"(?:^|[^\pL])(?:{_WORDS})(?:$|[^\pL])", ignore_case=True)

    def tell_of(self, text: str, findings: Iterable[Finding]) -> bool:
        """Whether the text says something of the health of somebody who was found in it."""
        return any(
            finding.kind == "MEDICAL_RECORD"
            or (
                finding.kind in _IDENTIFYING
                and self._words.within(text[max(0, finding.start - _NEAR) : finding.end + _NEAR])
            )
            for finding in findings
        )
