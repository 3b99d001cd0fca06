"""How gunicorn runs the door: gevent workers with the C parser, and the metrics port beside them."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

from prometheus_client import CollectorRegistry, multiprocess, start_http_server

worker_class = "web.worker.DoorWorker"
worker_connections = 5000
http_parser = "fast"
keepalive = 75  # longer than a load balancer keeps an idle connection
timeout = 60  # a worker's heartbeat, not a request's limit
graceful_timeout = int(os.environ.get("GATEWAY_WEB_GRACE_S", "30"))
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
control_socket_disable = True
forwarded_allow_ips = "127.0.0.1"
limit_request_line = 4094
accesslog = None
loglevel = "warning"

_metrics_port = int(os.environ.get("GATEWAY_METRICS_PORT", "0"))
# prometheus_client reads this variable when it is first imported by a worker.
_metrics_dir = os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="gateway-metrics-"))


def when_ready(server: Any) -> None:
    if _metrics_port:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, _metrics_dir)
        start_http_server(_metrics_port, addr=os.environ.get("GATEWAY_METRICS_HOST", "127.0.0.1"), registry=registry)


def child_exit(server: Any, worker: Any) -> None:
    multiprocess.mark_process_dead(worker.pid, _metrics_dir)


def on_exit(server: Any) -> None:
    shutil.rmtree(_metrics_dir, ignore_errors=True)
