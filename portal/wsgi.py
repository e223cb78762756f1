"""The WSGI application of the settings in force, for gunicorn and other servers."""

from portal import logs
from portal.app import create_app
from portal.settings import load_settings

settings = load_settings()
logs.configure(settings.log_level)
application = create_app(settings)
