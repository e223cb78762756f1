"""The web door: pages for suppliers, reviewers and administrators, and the tus endpoint."""

from flask import Flask
from flask_bootstrap import Bootstrap5

from portal import __version__
from portal.web import errors, files, filters, headers, home, navigation
from portal.web.icons import icon


def init_app(app: Flask) -> None:
    """Register everything the browser reaches."""
    app.jinja_env.globals.update(icon=icon, version=__version__)
    filters.init_app(app)
    navigation.init_app(app)
    headers.init_app(app)
    errors.init_app(app)
    Bootstrap5(app)  # Bootstrap's files come out of its wheel, never from another host
    app.register_blueprint(files.blueprint)
    app.register_blueprint(home.blueprint)
    app.add_url_rule("/health", endpoint="health", view_func=home.health)
