"""Celery's tasks. There are very few: the mesh's own consumer does the jobs."""

from __future__ import annotations

from typing import Any, Protocol

from celery import Task, shared_task


class TakesJobs(Protocol):
    """The thread that runs jobs in this worker, which workers/app.py puts on the Celery app."""

    def take(self, job_id: str) -> None: ...


@shared_task(name="workers.tasks.run", bind=True, ignore_result=True)
def run(task: Task[Any, Any], job_id: str, ring: int) -> None:
    """Do the job that a message names. Only a worker without the consumer gets here; the messages are the same."""
    mesh: TakesJobs = task.app.mesh
    mesh.take(job_id)
