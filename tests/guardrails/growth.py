"""How the time that a search takes grows with its text, whatever else the machine and the process are doing."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable

SIZES = (2_000, 8_000, 32_000)  # characters, each four times the one before
_MOST = 8.0  # times as long for four times the text: twice what linear takes, half of what quadratic does
_LEAST_S = 0.002  # a shorter time is the clock's as much as the search's
_TRIES = 4


def took_s(find: Callable[[str], object], text: str) -> float:
    """CPU seconds of this thread.

    A collection of garbage takes a second in a process that has met the whole suite, and is charged to whoever
    happens to allocate.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        began = time.thread_time()
        find(text)
        return time.thread_time() - began
    finally:
        if collects:
            gc.enable()


def grows_too_fast(find: Callable[[str], object], text_of: Callable[[int], str]) -> str:
    """What grows faster than its text, in words; empty where nothing does, in the best of several tries.

    text_of: a text of about so many characters.
    """
    texts = [text_of(size) for size in SIZES]
    best = [float("inf")] * len(texts)
    for _ in range(_TRIES):
        best = [min(least, took_s(find, text)) for least, text in zip(best, texts, strict=True)]
        if all(later < _MOST * max(earlier, _LEAST_S) for earlier, later in itertools.pairwise(best)):
            return ""
    return ", ".join(f"{size} characters {seconds:.4f} s" for size, seconds in zip(SIZES, best, strict=True))
