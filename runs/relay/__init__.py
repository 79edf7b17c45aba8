"""The one way from a sandbox to a model: a relay on the host that adds the key, counts and records what passes.

A sandbox gets the relay's address and a token that is worth nothing elsewhere; the real key stays in this process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from runs.agents.base import Log, ModelNeed
from runs.relay.ledger import Account, Holder
from runs.relay.server import Relay
from traces.proxy.wire.usage import Failure, ModelUse

__all__ = ["Account", "Failure", "Holder", "ModelUse", "Relay", "open_door"]


@contextmanager
def open_door(
    need: ModelNeed, listen_host: str, log: Log | None = None, holder: Holder | None = None
) -> Iterator[Relay]:
    """Run a relay on `listen_host` for as long as the block lasts; after it, `account` says what it came to.

    Every exchange is recorded in the proxy database for the run that `holder` names. The relay gives `door` (for the
    sandbox's specification), `url(host)` (the base URL as seen inside) and `usage`. `log` gets one line per request,
    never a body or a key. Raises AgentError when the key is missing or the base URL cannot be used, InfraError when
    the address cannot be listened on.
    """
    relay = Relay(need, listen_host, log, holder)
    try:
        yield relay
    finally:
        relay.close()
