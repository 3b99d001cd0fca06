"""A bucket that speaks S3; boto3's own variables and credential chain say where, and as whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from mesh.store import Row
from workers import exports


class Bucket:
    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    async def write(self, rows: Sequence[Row]) -> None:
        name, data = exports.name(rows), exports.lines(rows)
        await asyncio.to_thread(self._write, f"{self._prefix}{name}", data)

    def _write(self, name: str, data: bytes) -> None:
        try:
            self._client.put_object(Bucket=self._bucket, Key=name, Body=data, ContentType="application/x-ndjson")
        except (BotoCoreError, ClientError) as error:
            raise OSError(str(error)) from error


def open_place(to: str) -> exports.Export:
    parts = urlsplit(to)
    prefix = parts.path.strip("/")
    return Bucket(boto3.session.Session().client("s3"), parts.netloc, f"{prefix}/" if prefix else "")
