"""Liveness of workers: who was here last, so that a lost host's jobs are taken by another."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Base


class WorkerHost(Base):
    """One executor (a host's worker, by its stable name) and when it last said that it lives."""

    __tablename__ = "worker_hosts"
    executor_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    seen_at: Mapped[datetime]
