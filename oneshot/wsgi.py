"""The web application, served by granian with threads; live pages poll, so no connection stays open."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oneshot.settings")
application = get_wsgi_application()
