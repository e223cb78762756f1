"""Rows for tests, made directly: small, valid, committed, without the verbs under test."""

from tests.factories.make import Make
from tests.factories.queue import RecordingQueue

__all__ = ["Make", "RecordingQueue"]
