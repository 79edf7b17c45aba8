"""Settings of the tests: those of OneShot, with a data directory of their own and nobody's keys.

pytest-django reads settings before any conftest.py, so this must happen here.
"""

import os
import tempfile

for name in ("DATABASE_URL_FILE", "REDIS_URL", "ONESHOT_URL", "ONESHOT_SANDBOX", "OPENAI_API_KEY"):
    os.environ.pop(name, None)
# Short, since the embedded Redis listens on a socket below it.
os.environ["ONESHOT_DATA_DIR"] = tempfile.mkdtemp(prefix="oneshot-test-")
# Processes that tests start are OneShot as anybody runs it.
os.environ["DJANGO_SETTINGS_MODULE"] = "oneshot.settings"

from oneshot.settings import *  # noqa: E402, F403
