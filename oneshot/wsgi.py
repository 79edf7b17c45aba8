"""The web application, served by granian with threads; live pages poll, so no connection stays open."""

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oneshot.settings")
application = get_wsgi_application()

# Imports every view now, so that the first visitor does not wait for it.
_ = get_resolver().url_patterns
