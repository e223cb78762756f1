"""The queue as the rest of the portal sees it: DBOS's client, enqueuing inside the caller's transaction.

Job names are the functions in portal/jobs/tasks.py; one queue, so that one worker setting bounds the load.
"""

import os

from dbos import DBOSClient, DBOSPortableJSONSerializer
from sqlalchemy import Engine
from sqlalchemy.orm import Session

QUEUE = "lotgate"
APPLICATION = "lotgate"


class DurableQueue:
    """Implements portal.submissions.ports.JobQueue on the portal's own database."""

    def __init__(self, engine: Engine, *, application_version: str = "1") -> None:
        self._client = DBOSClient(
            system_database_engine=engine,
            serializer=DBOSPortableJSONSerializer,
            application_name=APPLICATION,
            lazy=True,
        )
        self._version = application_version

    def enqueue(self, session: Session, job: str, *arguments: str, key: str | None = None) -> None:
        options = {"queue_name": QUEUE, "workflow_name": job, "app_version": self._version}
        if key is not None:
            options |= {"deduplication_id": key, "duplication_policy": "return-existing"}
        self._client.enqueue_in_transaction(session, options, *arguments)
