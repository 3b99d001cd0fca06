"""A provider's stand-in in a process of its own, once with a short answer and once with one of many chunks.

`python -m benchmarks.standin anthropic` prints the two ports.
"""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys

import uvloop

from tests.standins import Reply, StandIn

CHUNKS = 2000  # of a stream
_CHUNK = "token "  # the stand-ins cut a text into as many characters
_PIECE_BYTES = 16_384  # what leaves together: a stream at full speed


async def serve(name: str) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    kind: type[StandIn] = importlib.import_module(f"tests.standins.{name}").Server
    whole, streaming = kind(), kind()
    streaming.reply = Reply(text=_CHUNK * CHUNKS)
    streaming.piece_bytes = _PIECE_BYTES
    async with whole, streaming:
        print(*(server.url.rpartition(":")[2] for server in (whole, streaming)), flush=True)
        await stopped.wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
