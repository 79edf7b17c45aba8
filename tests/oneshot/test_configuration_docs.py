"""The configuration page lists every setting, and no other."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_setting_is_documented_and_every_documented_one_exists():
    settings = (ROOT / "oneshot" / "settings.py").read_text()
    read = set(re.findall(r'env_\w+\(\s*"([A-Z_]+)"', settings))
    page = (ROOT / "docs" / "configuration.md").read_text()
    documented = set(re.findall(r"`((?:ONESHOT_|DATABASE_|REDIS_)[A-Z_]*[A-Z])`", page))
    assert read == documented
