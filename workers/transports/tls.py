"""The one TLS context of the SDKs' clients in a process: to read the authorities' certificates takes 20 ms of CPU."""

from __future__ import annotations

import functools
import ssl

import certifi


@functools.cache
def context() -> ssl.SSLContext:
    """Trusts what the machine trusts, or SSL_CERT_FILE and SSL_CERT_DIR where set, as the direct transport does; on a
    machine without authorities of its own, certifi's."""
    known = ssl.get_default_verify_paths()
    return ssl.create_default_context(cafile=None if known.cafile or known.capath else certifi.where())
