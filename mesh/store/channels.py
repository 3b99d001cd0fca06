"""The lists that somebody waits at: a door's replies, a worker's control, a lane."""

from __future__ import annotations

from typing import Any

from mesh import lanes
from mesh.store.call import Call, as_is, script
from mesh.wire import Arg

DOOR_LIFE_MS = 15_000
BLOCK_S = 5  # a blocking read answers at least this often, so that a dead connection is noticed
LOOK_S = 2  # a look: for so long what stands behind it may go by what was so when it was sent


def door_beat(boot: str) -> Call[Any]:
    """Say that this web process lives: workers write only to reply channels of living ones."""
    return script("beat", (boot, DOOR_LIFE_MS), as_is)


def door_leave(boot: str) -> Call[Any]:
    return Call(("DEL", f"{lanes.PREFIX}door:{boot}", f"{lanes.PREFIX}replies:{boot}"), as_is)


def replies(boot: str) -> tuple[Arg, ...]:
    """The blocking read of a door's reply channel; an entry is `<job id> <number> <sealed record>`.

    A job's end is `<job id> <number>!<length of the end event> <sealed end event><sealed answer>`; the event is empty
    when a script ended the job, and the answer when the job was streamed.
    """
    return ("BLMPOP", BLOCK_S, 1, f"{lanes.PREFIX}replies:{boot}", "LEFT", "COUNT", 512)


def control(boot: str) -> tuple[Arg, ...]:
    """The blocking read of a worker's control list; an entry is `<job id> <why>`."""
    return ("BLMPOP", BLOCK_S, 1, f"{lanes.PREFIX}control:{boot}", "LEFT", "COUNT", 64)


def look(lane: lanes.Lane) -> tuple[Arg, ...]:
    """Wait until a lane has a message, for `LOOK_S` at most, and leave it there. It wakes every waiter; with a full
    lane it returns at once."""
    return ("BLMOVE", lane.messages, lane.messages, "RIGHT", "RIGHT", LOOK_S)
