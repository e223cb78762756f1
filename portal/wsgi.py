"""The WSGI application of the settings in force, for gunicorn and other servers."""

from portal.app import create_app
from portal.settings import load_settings

application = create_app(load_settings())
