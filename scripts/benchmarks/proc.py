"""What processes have used, as /proc tells it: processor seconds and memory of whole trees."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Memory:
    """In bytes; `pss` counts a shared page in parts, so it is what sums up over processes."""

    rss: int
    pss: int


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on; none where the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text[text.rindex(")") + 2 :].split()  # the name before it may hold blanks and brackets


def tree(root: int, besides: Collection[int] = ()) -> list[int]:
    """A process and all that descend from it, but for `besides` and all that descend from them."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found = [root]
    for pid in found:
        found += [child for child in children.get(pid, []) if child not in besides]
    return found


def trees(roots: Mapping[str, int]) -> dict[str, list[int]]:
    """By name; what descends from two roots is the nearer one's."""
    return {name: tree(root, {*roots.values()} - {root}) for name, root in roots.items()}


def running(pids: Iterable[int], word: str) -> int | None:
    """The first of these processes that has this word in its command line."""
    for pid in pids:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if word in words:
            return pid
    return None


def cpu_s(pids: Iterable[int]) -> float:
    """User and system seconds, those of children that have ended and been waited for included."""
    return sum(sum(int(ticks) for ticks in fields[11:15]) for pid in pids if (fields := _stat(pid))) / _TICKS


def machine_cpu_s() -> float:
    """What all processes of the machine have used, and what its host has kept from it."""
    _, user, nice, system, _, _, irq, softirq, steal, *_ = Path("/proc/stat").read_text().splitlines()[0].split()
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / _TICKS


def memory(pids: Iterable[int]) -> Memory:
    """Where the kernel does not tell the proportional size, it is taken to be the resident one."""
    rss = pss = 0
    for pid in pids:
        try:
            resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        except (FileNotFoundError, ProcessLookupError):
            continue
        rss += resident
        pss += _pss(pid, resident)
    return Memory(rss, pss)


def _pss(pid: int, resident: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return resident
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), resident)
