"""Makes agent configurations: from a TOML file, from options of a command, and checks those that a row holds."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runs.agents.registry import agent_class, kinds
from runs.agents.settings import MAX_FILE_BYTES, BadConfiguration, Setting, read_settings, unknown, word
from runs.models import AgentConfig

MAX_TOML_BYTES = 1_000_000


def from_file(path: str | Path) -> AgentConfig:
    """Return the configuration that a TOML file describes. Raises BadConfiguration, naming file and field."""
    path = Path(path)
    where = path.name
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TOML_BYTES + 1)
        if len(data) > MAX_TOML_BYTES:
            raise BadConfiguration(where, "", f"the file is larger than {MAX_TOML_BYTES} bytes.")
        document = tomllib.loads(data.decode())
    except OSError as error:
        raise BadConfiguration(str(path), "", f"cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfiguration(where, "", f"is no TOML: {error}.") from None
    kind = document.pop("kind", "command")
    names = {name: _word(where, name, document.pop(name, "")) for name in ("name", "version", "model")}
    return configure(kind, settings=_with_files(document, path.parent, where), where=where, **names)


def from_options(
    kind: str,
    *,
    command: str = "",
    model: str = "",
    effort: str = "",
    base_url: str = "",
    key_env: str = "",
    name: str = "",
    version: str = "",
    settings: Mapping[str, Any] | None = None,
) -> AgentConfig:
    """Return the configuration that options describe; empty ones are not given. Raises BadConfiguration."""
    kind_settings = _settings_of(kind)
    given: dict[str, Any] = dict(settings or {})
    given |= {"command": command} if command else {}
    given |= {"reasoning_effort": effort} if effort else {}
    service = {key: value for key, value in (("base_url", base_url), ("key_env", key_env)) if value}
    if service:
        given["service"] = {**given.get("service", {}), **service}
    for field, options in (("command", command), ("reasoning_effort", effort), ("service", base_url or key_env)):
        if options and field not in kind_settings:
            option = {"reasoning_effort": "--effort", "service": "--base-url and --key-env"}.get(field, "--command")
            raise BadConfiguration("", "", f"The agent {kind} takes no {option}.")
    return configure(kind, name=name, version=version, model=model, settings=given)


def configure(
    kind: Any, *, name: str = "", version: str = "", model: str = "", settings: Mapping[str, Any], where: str = ""
) -> AgentConfig:
    """Return the row of this configuration, made if there is none. Raises BadConfiguration."""
    known = _settings_of(kind, where)
    kept = read_settings(known, settings, where)
    for field, setting in known.items():
        if setting.required and field not in kept:
            raise BadConfiguration(where, "", f"The agent {kind} needs {field!r}: {setting.meaning}.")
    if not version and hasattr(agent_class(kind), "default_version"):
        version = agent_class(kind).default_version()
    return AgentConfig.obtain(kind=kind, name=name or kind, version=version, model=model, settings=kept)


def _settings_of(kind: Any, where: str = "") -> Mapping[str, Setting]:
    if not isinstance(kind, str) or kind not in kinds():
        raise BadConfiguration(where, "kind" if where else "", unknown(str(kind), kinds(), "kind of agent"))
    return getattr(agent_class(kind), "settings", {})


def _word(where: str, name: str, value: Any) -> str:
    try:
        return word(value)
    except ValueError as error:
        raise BadConfiguration(where, name, str(error)) from None


def _with_files(value: Any, directory: Path, where: str, field: str = "") -> Any:
    """Replace every `{from = "name"}` by the text of that file, which lies beside or below the TOML file."""
    if not isinstance(value, dict):
        return value
    if set(value) != {"from"} or not isinstance(value["from"], str):
        return {
            key: _with_files(inner, directory, where, f"{field}.{key}" if field else key)
            for key, inner in value.items()
        }
    path = (directory / value["from"]).resolve()
    if not path.is_relative_to(directory.resolve()):
        raise BadConfiguration(where, field, f"{value['from']!r} leaves the directory of {where}.")
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadConfiguration(where, field, f"{value['from']!r} is larger than {MAX_FILE_BYTES} bytes.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfiguration(where, field, f"{value['from']!r} cannot be read as text: {error}.") from None
