"""Rows for tests, made directly: small, valid, committed. The verbs under test are never used to prepare them."""

from tests.factories.make import Make
from tests.factories.queue import RecordingQueue

__all__ = ["Make", "RecordingQueue"]
