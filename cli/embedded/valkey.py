"""Valkey as `gateway up` runs it: on loopback, behind a password, every write on disk before it is answered.

What is sealed cannot be compressed: a rewritten AOF is written as it is."""

from __future__ import annotations

from pathlib import Path

MEMORY = "1gb"  # submits are refused from 80 % of it


def url(port: int, password: str) -> str:
    return f"redis://gw:{password}@127.0.0.1:{port}/0"


def config(port: int, folder: Path, password: str) -> str:
    """The text of valkey.conf; a file and not the command line, which every user of the machine can read."""
    return f"""\
bind 127.0.0.1
port {port}
dir "{folder}"
appendonly yes
appendfsync always
save ""
rdbcompression no
maxmemory {MEMORY}
maxmemory-policy noeviction
user default off
user gw on >{password} ~gw:* +@all -@dangerous +info -script|flush
"""
