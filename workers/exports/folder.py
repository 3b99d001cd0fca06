"""A folder of this machine, or of a volume."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mesh.store import Row
from workers import exports


class Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    async def write(self, rows: Sequence[Row]) -> None:
        await asyncio.to_thread(self._write, self._path / exports.name(rows), exports.lines(rows))

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Another may write the same file at the same time: each writes its own, and the last one's name stays.
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.draft")
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


def open_place(to: str) -> exports.Export:
    return Folder(Path(unquote(urlsplit(to).path)))
