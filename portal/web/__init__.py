"""The web door: pages for suppliers, reviewers and administrators, and the tus endpoint."""

from flask import Flask


def init_app(app: Flask) -> None:
    """Register everything the browser reaches."""
