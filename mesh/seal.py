"""Prompts, answers and events at rest: AES-256-GCM under a key of the job's own.

A sealed text is `<key id>.` + a nonce of 12 bytes + ciphertext and tag. The nonce is 8 random bytes, new with every
`JobSeal`, and a count: a random number for each event would cost as much as sealing it. The job's key is
HMAC-SHA256(master, tenant ‖ 0 ‖ job); the additional data names tenant, job and field, so that a sealed text cannot be
moved to another place. An old master stays in the list for as long as anything sealed under it is kept.
"""

from __future__ import annotations

import hmac
import itertools
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class SealBroken(Exception):
    """A sealed text was changed, moved, or sealed under a master that this process does not have."""


class JobSeal:
    """Seals and opens what belongs to one job."""

    __slots__ = ("_cipher", "_count", "_key", "_keys", "_place", "_prefix", "_salt")

    def __init__(self, masters: Mapping[str, bytes], tenant: str, job_id: str) -> None:
        self._place = f"{tenant}\0{job_id}\0".encode()
        self._keys = [(name.encode() + b".", master) for name, master in masters.items()]
        self._prefix = self._keys[0][0]
        self._cipher: AESGCM | None = None
        self._key = b""  # derived from the first master at its first use
        self._salt = b""
        self._count = itertools.count()

    def _derived(self, master: bytes) -> bytes:
        return hmac.digest(master, self._place, "sha256")

    def _first(self) -> AESGCM:
        """Kept from its second use on: after the first, sealing the request, a door's job waits, and it is 2.5 KB."""
        if self._cipher is not None:
            return self._cipher
        if not self._key:
            self._key = self._derived(self._keys[0][1])
            return AESGCM(self._key)
        self._cipher = AESGCM(self._key)
        return self._cipher

    def seal(self, field: str, text: bytes) -> bytes:
        if not self._salt:
            self._salt = os.urandom(8)
        nonce = self._salt + next(self._count).to_bytes(4, "big")
        return self._prefix + nonce + self._first().encrypt(nonce, text, self._place + field.encode())

    def open(self, field: str, sealed: bytes) -> bytes:
        """The text that was sealed as `field` of this job.

        Raises:
            SealBroken: it was not.
        """
        if sealed.startswith(self._prefix):
            prefix, key = self._prefix, self._first()
        else:
            prefix, key = self._old(sealed)
        start = len(prefix)
        try:
            return key.decrypt(sealed[start : start + 12], sealed[start + 12 :], self._place + field.encode())
        except (InvalidTag, ValueError) as error:
            raise SealBroken(f"{field}: not what was sealed here") from error

    def _old(self, sealed: bytes) -> tuple[bytes, AESGCM]:
        for prefix, master in self._keys[1:]:
            if sealed.startswith(prefix):
                return prefix, AESGCM(self._derived(master))
        raise SealBroken(f"no master with the id {sealed.partition(b'.')[0][:8]!r}")


class Sealer:
    """Makes a job's seal from the masters, by key id, the first of which seals."""

    def __init__(self, masters: Mapping[str, bytes]) -> None:
        self._masters = dict(masters)

    def job(self, tenant: str, job_id: str) -> JobSeal:
        return JobSeal(self._masters, tenant, job_id)

    def fingerprint(self, tenant: str, text: bytes) -> str:
        """32 hex digits, the same for the same text of a tenant; without the master they do not tell it."""
        master = next(iter(self._masters.values()))
        return hmac.digest(master, b"fingerprint\0" + tenant.encode() + b"\0" + text, "sha256").hex()[:32]
