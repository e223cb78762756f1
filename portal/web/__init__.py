"""The web door: pages for suppliers, reviewers and administrators, and the tus endpoint."""

from flask import Flask
from flask_bootstrap import Bootstrap5

from portal import __version__
from portal.web import (
    account,
    admin,
    errors,
    files,
    filters,
    headers,
    home,
    ledger,
    navigation,
    reports,
    security,
)
from portal.web.icons import icon
from portal.web.review import blueprint as review
from portal.web.supplier import blueprint as supplier
from portal.web.vault import blueprint as vault


def init_app(app: Flask) -> None:
    """Register everything the browser reaches."""
    app.jinja_env.globals.update(icon=icon, version=__version__)
    filters.init_app(app)
    navigation.init_app(app)
    headers.init_app(app)
    errors.init_app(app)
    Bootstrap5(app)  # Bootstrap's files come out of its wheel, never from another host
    security.init_app(app)
    app.register_blueprint(account.blueprint)
    app.register_blueprint(admin.blueprint)
    app.register_blueprint(files.blueprint)
    app.register_blueprint(home.blueprint)
    app.register_blueprint(ledger.blueprint)
    app.register_blueprint(reports.blueprint)
    app.register_blueprint(review)
    app.register_blueprint(supplier)
    app.register_blueprint(vault)
    app.add_url_rule("/health", endpoint="health", view_func=home.health)
