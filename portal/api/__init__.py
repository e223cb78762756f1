"""The API door: JSON under /api/v1 with bearer tokens."""

from flask import Flask

from portal.api import changes, products, questionnaires, submissions
from portal.api.blueprint import blueprint

__all__ = ["changes", "init_app", "products", "questionnaires", "submissions"]  # their routes are registered


def init_app(app: Flask) -> None:
    """Register everything under /api/v1."""
    app.register_blueprint(blueprint)
