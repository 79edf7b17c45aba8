"""Shared ground of the tests: a data directory of its own for every session, and the three people."""

import os
import tempfile

# Before Django reads its settings: tests never touch the developer's data, Redis or queues.
os.environ["ONESHOT_DATA_DIR"] = tempfile.mkdtemp(prefix="oneshot-test-")
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
