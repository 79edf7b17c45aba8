"""Takes secrets out of text before it is kept: the values of this process' own secrets, and known key shapes."""

import os
import re
from functools import lru_cache

MASK = "[redacted]"
LEAST_LENGTH = 8

SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|PRIVATE)", re.IGNORECASE)
HARMLESS = {"", "true", "false", "none"}

SHAPES = re.compile(
    "|".join(
        [
            r"sk-(?:ant-|proj-|or-v1-)?[A-Za-z0-9_-]{20,}",
            r"gh[pousr]_[A-Za-z0-9]{30,}",
            r"github_pat_[A-Za-z0-9_]{40,}",
            r"hf_[A-Za-z0-9]{30,}",
            r"gsk_[A-Za-z0-9]{30,}",
            r"AKIA[0-9A-Z]{16}",
            r"AIza[0-9A-Za-z_-]{35}",
            r"xox[abprs]-[A-Za-z0-9-]{10,}",
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----",
        ]
    )
)
USER_INFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@:]*:[^\s/@]+@", re.IGNORECASE)


def known_secrets() -> frozenset[str]:
    """Return the values of environment variables whose names say that they are secret."""
    return _secrets_of(tuple(sorted(os.environ.items())))


@lru_cache(maxsize=4)
def _secrets_of(environment: tuple[tuple[str, str], ...]) -> frozenset[str]:
    return frozenset(
        value
        for name, value in environment
        if SECRET_NAME.search(name)
        and len(value) >= LEAST_LENGTH
        and value.lower() not in HARMLESS
        # a *_FILE variable or a socket path names a place, not a secret
        and not value.startswith("/")
    )


def redact(text: str) -> str:
    """Return `text` with every known secret value, key shape and URL password replaced by [redacted]."""
    for secret in known_secrets():
        if secret in text:
            text = text.replace(secret, MASK)
    text = SHAPES.sub(MASK, text)
    return USER_INFO.sub(rf"\1{MASK}@", text) if "@" in text else text
