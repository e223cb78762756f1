"""The formats of portal.formats as filters of every template."""

from flask import Flask

from portal.formats import FILTERS, day, duration, iso, label, moment, number, size, words

__all__ = ["FILTERS", "day", "duration", "init_app", "iso", "label", "moment", "number", "size", "words"]


def init_app(app: Flask) -> None:
    for name, function in FILTERS.items():
        app.jinja_env.filters[name] = function
