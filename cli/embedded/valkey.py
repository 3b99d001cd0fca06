"""Valkey as `gateway up` runs it: on loopback, behind a password, every write on disk before it is answered.

A rewrite of the AOF takes a core from those who stream meanwhile: it comes later than Valkey would have it, and
compresses nothing, because what is sealed does not shrink.
"""

from __future__ import annotations

from pathlib import Path

MEMORY = "1gb"  # submits are refused from 80 % of it


def url(port: int, password: str) -> str:
    return f"redis://gw:{password}@127.0.0.1:{port}/0"


def config(port: int, folder: Path, password: str, appendfsync: str = "always") -> str:
    """The text of valkey.conf; a file and not the command line, which every user of the machine can read."""
    return f"""\
bind 127.0.0.1
port {port}
dir "{folder}"
appendonly yes
appendfsync {appendfsync}
save ""
rdbcompression no
auto-aof-rewrite-min-size 256mb
maxmemory {MEMORY}
maxmemory-policy noeviction
user default off
user gw on >{password} ~gw:* +@all -@dangerous +info -script|flush
"""
