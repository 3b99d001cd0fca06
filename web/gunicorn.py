"""How gunicorn runs the door: gevent workers with the C parser, and the metrics port beside them."""

from __future__ import annotations

import os
import pkgutil
import shutil
import tempfile
from typing import Any

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
# prometheus_client decides by this variable, when it is first imported, whether processes count together: not before
# here.
_metrics_dir = os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(
    prefix="gateway-metrics-", dir=os.environ.get("GATEWAY_METRICS_DIR")
)


def when_ready(server: Any) -> None:
    if _metrics_port:
        host = os.environ.get("GATEWAY_METRICS_HOST", "127.0.0.1")
        pkgutil.resolve_name("web.scrape:serve")(_metrics_dir, host, _metrics_port)


def child_exit(server: Any, worker: Any) -> None:
    pkgutil.resolve_name("web.scrape:forget")(_metrics_dir, worker.pid)


def on_exit(server: Any) -> None:
    shutil.rmtree(_metrics_dir, ignore_errors=True)
