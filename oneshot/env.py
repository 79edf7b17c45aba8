"""Typed readers for environment variables: a wrong value raises and names the variable."""

import os
from pathlib import Path

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off", ""}


class SettingError(ValueError):
    """A setting has a value that cannot be used; the message names the variable and the mend."""


def env_str(name: str, default: str = "") -> str:
    """Return the variable's text, or `default` when it is unset or empty."""
    return os.environ.get(name, "").strip() or default


def env_bool(name: str, default: bool) -> bool:
    """Return a yes/no variable. Raises SettingError for anything but 1/0, true/false, yes/no, on/off."""
    raw = os.environ.get(name)
    if raw is None:
        return default
    value = raw.strip().lower()
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise SettingError(f"{name}={raw!r} is neither yes nor no. Write 1 or 0.")


def env_int(name: str, default: int, *, least: int = 0) -> int:
    """Return a whole number. Raises SettingError when it is not one, or is below `least`."""
    raw = os.environ.get(name, "").strip()
    if not raw:
        return default
    try:
        value = int(raw)
    except ValueError:
        raise SettingError(f"{name}={raw!r} is not a whole number, such as {default}.") from None
    if value < least:
        raise SettingError(f"{name}={value} is too small: the least is {least}.")
    return value


def env_float(name: str, default: float, *, least: float = 0.0) -> float:
    """Return a number. Raises SettingError when it is not one, or is below `least`."""
    raw = os.environ.get(name, "").strip()
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError:
        raise SettingError(f"{name}={raw!r} is not a number, such as {default}.") from None
    if value < least:
        raise SettingError(f"{name}={value} is too small: the least is {least}.")
    return value


def env_choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    """Return one of `choices`. Raises SettingError for any other value."""
    value = env_str(name, default)
    if value not in choices:
        raise SettingError(f"{name}={value!r} is not one of {', '.join(choices)}.")
    return value


def env_list(name: str, default: str = "") -> list[str]:
    """Return a comma-separated variable as a list without empty items."""
    return [item.strip() for item in env_str(name, default).split(",") if item.strip()]


def env_secret(name: str, default: str = "") -> str:
    """Return a secret from NAME, or from the file that NAME_FILE points to (as Docker secrets do)."""
    path = os.environ.get(f"{name}_FILE", "").strip()
    if not path:
        return env_str(name, default)
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingError(f"{name}_FILE={path!r} cannot be read: {error.strerror}.") from None
