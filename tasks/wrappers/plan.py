"""What a wrapper decided: arguments, environment, and what the person must know."""

from __future__ import annotations

from dataclasses import dataclass, field

PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy")


@dataclass(frozen=True)
class Plan:
    """The agent's arguments (without its name), its whole environment, and lines for standard error."""

    args: list[str]
    env: dict[str, str]
    notes: list[str] = field(default_factory=list)


def own_proxy(env: dict[str, str]) -> str:
    """Return the proxy that the user's requests to HTTPS services go through, or ""."""
    return next((env[name] for name in PROXIES[:4] if env.get(name, "").strip()), "")


def spare(env: dict[str, str], hosts: tuple[str, ...] = ("127.0.0.1", "localhost")) -> dict[str, str]:
    """Return `env` with these hosts reached directly; what the user has in NO_PROXY stays."""
    if not any(env.get(name, "").strip() for name in PROXIES):
        return env
    kept = env.get("NO_PROXY") or env.get("no_proxy") or ""
    names = [name.strip() for name in kept.split(",") if name.strip()]
    names += [host for host in hosts if host not in names]
    return {**env, "NO_PROXY": ",".join(names), "no_proxy": ",".join(names)}
