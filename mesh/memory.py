"""How Python's cyclic garbage collector is told what kind of process this is."""

from __future__ import annotations

import gc

_YOUNG = 50_000  # new containers before a collection; the default of 700 runs one every few requests


def calm_collector() -> None:
    """Leave alone what was loaded at the start, and look at the rest less often.

    Requests make hardly any cycles: reference counting frees them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 50)
