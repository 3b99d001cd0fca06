"""Keys and other secrets: by the shape their issuers gave them, or by how they are assigned."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Iterator

from guardrails.detectors.patterns import Pattern, alone
from guardrails.verdicts import Finding

_ISSUED = (
    r"(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ABIA|ACCA)[A-Z2-7]{16}",  # AWS
    r"sk-ant-[A-Za-z0-9_-]{20,200}",  # Anthropic
    r"sk-(?:proj-|svcacct-|admin-|or-v1-)?[A-Za-z0-9_-]{20,220}",  # OpenAI and those who copied it
    r"gh[pousr]_[A-Za-z0-9]{36,251}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{22,255}",
    r"glpat-[A-Za-z0-9_-]{20,64}",  # GitLab
    r"xox[abeoprs]-[A-Za-z0-9-]{10,250}",  # Slack
    r"xapp-\d-[A-Za-z0-9-]{10,250}",
    r"https://hooks\.slack\.com/services/[A-Za-z0-9/_+-]{20,100}",
    r"AIza[0-9A-Za-z_-]{35}",  # Google
    r"GOCSPX-[0-9A-Za-z_-]{28}",
    r"ya29\.[0-9A-Za-z_-]{20,250}",
    r"[sr]k_(?:live|test)_[0-9A-Za-z]{16,250}",  # Stripe
    r"whsec_[0-9A-Za-z+/=]{24,100}",
    r"SG\.[0-9A-Za-z_-]{16,32}\.[0-9A-Za-z_-]{16,64}",  # SendGrid
    r"hf_[A-Za-z0-9]{30,64}",  # Hugging Face
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-[A-Za-z0-9_-]{50,250}",
    r"dckr_pat_[A-Za-z0-9_-]{20,64}",
    r"dop_v1_[a-f0-9]{64}",  # DigitalOcean
    r"gsk_[A-Za-z0-9]{40,64}",  # Groq
    r"pplx-[A-Za-z0-9]{40,64}",
    r"key-[0-9a-f]{32}",  # Mailgun
    r"SK[0-9a-f]{32}",  # Twilio
    r"\d{8,10}:AA[0-9A-Za-z_-]{33}",  # Telegram
    r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",  # a JSON Web Token
)
_PEM_BEGIN = r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
_PEM_END = r"-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
_PEM_LENGTH = 16_384  # of RSA with 16,384 bits: 12,700
_NAMES = (
    r"(?:api|access|secret|private|auth|client|master|encryption|signing|service|account|storage|subscription)?[_ .-]?"
    r"(?:key|token|secret|password|passwd|passphrase|pwd|credentials?|bearer)"
)
_ASSIGNED = (
    rf"(?:^|[^A-Za-z]){_NAMES}[\"']?(?: is\s|\s?[:=]>?\s?|\s)[\"'`]?([A-Za-z0-9+/][A-Za-z0-9+/=_.~!@$%^&*-]{{11,256}})"
)
_PASSWORD = r"(?:password|passwd|passphrase|pwd|passcode)[\"']?(?: is|\s?[:=])\s{0,2}[\"'`]?([^\s\"'`<>,;]{6,128})"
_IN_URL = r"[a-z][a-z0-9+.-]{1,15}://[^\s:/@]{0,64}:([^\s:/@]{3,128})@"


class Secrets:
    name = "secrets"

    def __init__(self) -> None:
        self._issued = Pattern(f"(?:{'|'.join(_ISSUED)})")
        self._pem_begin, self._pem_end = Pattern(_PEM_BEGIN), Pattern(_PEM_END)
        self._assigned = Pattern(_ASSIGNED, ignore_case=True)
        self._password = Pattern(_PASSWORD, ignore_case=True)
        self._in_url = Pattern(_IN_URL, ignore_case=True)

    def find(self, text: str) -> Iterator[Finding]:
        for start, end in self._issued.spans(text):
            if alone(text, start, end) and (_various(text[start:end]) or "." in text[start:end]):
                yield Finding("API_KEY", start, end, 0.99, self.name)
        if "-----BEGIN" in text:
            for start, end in self._private_keys(text):
                yield Finding("API_KEY", start, end, 0.99, self.name)
        for start, end in self._assigned.spans(text):
            if _random(text[start:end]):
                yield Finding("API_KEY", start, end, 0.9, self.name)
        for start, end in self._password.spans(text):
            if _various(text[start:end]):
                yield Finding("API_KEY", start, end, 0.85, self.name)
        if "://" in text:
            for start, end in self._in_url.spans(text):
                yield Finding("API_KEY", start, end, 0.995, self.name)  # an e-mail address to the eye

    def _private_keys(self, text: str) -> Iterator[tuple[int, int]]:
        """Private keys in armour; one whose end was cut off takes what follows it."""
        ends = [end for _, end in self._pem_end.spans(text)]
        done = 0
        for start, begun in self._pem_begin.spans(text):
            if start < done:
                continue
            longest = min(begun + _PEM_LENGTH, len(text))
            place = bisect.bisect(ends, begun)
            done = min(ends[place], longest) if place < len(ends) else longest
            yield start, done


def _various(value: str) -> bool:
    """Whether letters and digits are both there: neither a word nor a placeholder such as YOUR_KEY."""
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def _random(value: str) -> bool:
    """Whether a value has as many different characters as chance would give it (3 bits a character and more)."""
    counts = Counter(value).values()
    bits = -sum(count / len(value) * math.log2(count / len(value)) for count in counts)
    return bits >= 3 and _various(value)
