"""The API door: JSON under /api/v1 with bearer tokens."""

from flask import Flask


def init_app(app: Flask) -> None:
    """Register everything under /api/v1."""
