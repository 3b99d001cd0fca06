"""Celery's tasks. There are very few: the mesh's own consumer does the jobs."""

from __future__ import annotations

from typing import Any, Protocol

from celery import Task, shared_task


class Mesh(Protocol):
    """The thread that runs jobs in this worker, which workers/app.py puts on the Celery app."""

    def take(self, job_id: str) -> None: ...

    def fetch(self, fetch_id: str) -> None: ...

    def pull(self, pull_id: str) -> None: ...


@shared_task(name="workers.tasks.run", bind=True, ignore_result=True)
def run(task: Task[Any, Any], job_id: str, ring: int) -> None:
    """Do the job that a message names. Only a worker without the consumer gets here; the messages are the same."""
    mesh: Mesh = task.app.mesh
    mesh.take(job_id)


@shared_task(name="workers.tasks.fetch", bind=True, ignore_result=True)
def fetch(task: Task[Any, Any], fetch_id: str) -> None:
    """Fetch an image for a provider's worker, which reaches no more than its provider. Only worker-system gets here."""
    mesh: Mesh = task.app.mesh
    mesh.fetch(fetch_id)


@shared_task(name="workers.tasks.pull", bind=True, ignore_result=True)
def pull(task: Task[Any, Any], pull_id: str) -> None:
    """Have this worker's provider fetch a model. It goes on when this has ended: a lease holds it, not the message."""
    mesh: Mesh = task.app.mesh
    mesh.pull(pull_id)
