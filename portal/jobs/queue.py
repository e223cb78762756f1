"""The queue as the rest of the portal sees it: DBOS's client, enqueuing inside the caller's transaction.

Job names are the functions in portal/jobs/tasks.py; one queue, so that one worker setting bounds the load.
"""

from dbos import DBOSClient, EnqueueOptions
from dbos import DBOSPortableJSONSerializer as PortableJson
from sqlalchemy import Engine
from sqlalchemy.orm import Session

QUEUE = "lotgate"
APPLICATION = "lotgate"
# Jobs outlive deployments: a job enqueued before an upgrade is done by the worker that runs after it.
JOBS_VERSION = "1"


class DurableQueue:
    """Implements portal.submissions.ports.JobQueue on the portal's own database."""

    def __init__(self, engine: Engine) -> None:
        self._client = DBOSClient(
            system_database_engine=engine,
            serializer=PortableJson(),
            application_name=APPLICATION,
            lazy=True,
        )

    def enqueue(self, session: Session, job: str, *arguments: str, key: str | None = None) -> None:
        options: EnqueueOptions = {
            "queue_name": QUEUE,
            "workflow_name": job,
            "app_version": JOBS_VERSION,
        }
        if key is not None:
            options["workflow_id"] = f"{job}:{key}"
        self._client.enqueue_in_transaction(session, options, *arguments)
