"""Workers: who was here last, so that a lost host's jobs are taken by another; who does what for all."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Base


class WorkerHost(Base):
    """One executor (a host's worker, by its stable name) and when it last said that it lives."""

    __tablename__ = "worker_hosts"
    executor_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    seen_at: Mapped[datetime]


class DutyLoan(Base):
    """Which executor has a duty (portal/jobs/duties.py), and until when unless it is renewed."""

    __tablename__ = "worker_duties"
    duty: Mapped[str] = mapped_column(String(20), primary_key=True)
    executor_id: Mapped[str] = mapped_column(String(100))
    until: Mapped[datetime]
