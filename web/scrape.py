"""The metrics port: what all web processes have counted, served by the process that supervises them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, multiprocess, start_http_server


def serve(folder: str, host: str, port: int) -> None:
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, folder)
    start_http_server(port, addr=host, registry=registry)


def forget(folder: str, pid: int) -> None:
    """Drop the gauges of a process that has ended; what it counted stays."""
    multiprocess.mark_process_dead(pid, folder)
