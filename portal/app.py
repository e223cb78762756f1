"""create_app: wiring only."""

from inspect import iscoroutinefunction

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import IntegerConverter
from werkzeug.routing import Map as Routes

from portal import api, web
from portal.adapters.blobs import LocalBlobStore
from portal.clock import Clock, SystemClock
from portal.db import prepare_engine
from portal.files import PACKAGE, data_folder
from portal.http import gate
from portal.http.context import Parts, db
from portal.jobs.queue import DurableQueue
from portal.settings import Settings, secret_key
from portal.submissions.ports import JobQueue


class Number(IntegerConverter):
    """`<int:…>` in an address: what no database takes (64 bits) is not there, rather than an error."""

    def __init__(self, routes: Routes) -> None:
        super().__init__(routes, max=(1 << 63) - 1)


def create_app(
    settings: Settings,
    *,
    clock: Clock | None = None,
    jobs: JobQueue | None = None,
) -> Flask:
    """The WSGI application of one portal. Raises SettingsError when a setting does not fit."""
    app = Flask(
        "portal", template_folder=str(data_folder("templates")), static_folder=str(PACKAGE / "static")
    )
    app.url_map.converters["int"] = Number
    app.config.update(
        SECRET_KEY=secret_key(settings),
        SQLALCHEMY_ENGINES={"default": settings.database},
        MAX_CONTENT_LENGTH=1 << 20,  # of a form; routes that take more say so themselves
    )
    settings.store.mkdir(parents=True, exist_ok=True)
    store = LocalBlobStore(settings.store)
    db.init_app(app)
    # Nothing here opens an asynchronous session; asking after one costs a millisecond of every request.
    app.teardown_appcontext_funcs = [
        end for end in app.teardown_appcontext_funcs if not iscoroutinefunction(end)
    ]
    with app.app_context():
        prepare_engine(db.engine)
        queue = jobs or DurableQueue(db.engine)
    app.extensions["lotgate"] = Parts(
        settings=settings,
        clock=clock or SystemClock(),
        store=store,
        jobs=queue,
        spool=settings.store / "spool",
    )
    if settings.proxies:
        hops = settings.proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=0)  # type: ignore[method-assign]
    web.init_app(app)
    gate.init_app(app)
    api.init_app(app)
    return app
