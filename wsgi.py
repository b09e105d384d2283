"""What gunicorn and flask serve: `wsgi:app`."""

from __future__ import annotations

import atexit

from cowork import log, settings
from cowork.app import create_app
from cowork.services import open_services

_settings = settings.load()
log.configure(level=_settings.log_level, form=_settings.log_format)
services = open_services(_settings).start()
atexit.register(services.close)
app = create_app(services)
