"""IP addresses that may lead to somebody: neither loopback nor a mask nor a version number."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from guardrails.detectors.patterns import Pattern, alone
from guardrails.verdicts import Finding

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_VERSION = (
    r"[a-z]/|[=~]=|\bv|\b(?:version|ver|rv|v|release|build|firmware|driver|oid|section|clause|chapter)\.?[ :#=]{0,3}"
)


class IpAddresses:
    name = "ips"

    def __init__(self) -> None:
        self._four = Pattern(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
        self._six = Pattern(r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:\.\d{1,3}){0,3}")
        self._version = Pattern(rf"(?:{_VERSION})$", ignore_case=True)

    def find(self, text: str) -> Iterator[Finding]:
        if "." in text:
            for start, end in self._four.spans(text):
                if alone(text, start, end, ".") and self._is_address(text, start, end):
                    yield Finding("IP_ADDRESS", start, end, 0.95, self.name)
        if ":" in text:
            for start, end in self._six.spans(text):
                if _whole(text, start, end) and _is_six(text[start:end]):
                    yield Finding("IP_ADDRESS", start, end, 0.95, self.name)

    def _is_address(self, text: str, start: int, end: int) -> bool:
        address = ipaddress.IPv4Address(text[start:end])
        if address.is_loopback or address.is_unspecified or text.startswith("255.", start):
            return False
        return not self._version.within(text[max(0, start - 14) : start])


def _whole(text: str, start: int, end: int) -> bool:
    return alone(text, start, end, ".") and ":" not in (text[max(0, start - 1) : start], text[end : end + 1])


def _is_six(text: str) -> bool:
    if not any(char.isdigit() for char in text):  # dead::beef is C++ as likely
        return False
    try:
        address = ipaddress.IPv6Address(text)
    except ipaddress.AddressValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)
