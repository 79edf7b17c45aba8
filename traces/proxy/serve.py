"""The gateway's process: mitmproxy with our addon. Runs as a script in mitmproxy's own environment.

Told what to do by the JSON in ONESHOT_GATEWAY_CONFIG; `traces.proxy.gateway` starts it.
"""

import asyncio
import importlib.machinery
import json
import logging
import os
import signal
import sys
import types
from pathlib import Path


def _find_traces() -> None:
    """Make `traces` importable alone: its neighbours may be another environment's packages."""
    root = Path(__file__).resolve().parent.parent
    package = types.ModuleType("traces")
    package.__path__ = [str(root)]
    package.__spec__ = importlib.machinery.ModuleSpec("traces", None, is_package=True)
    sys.modules["traces"] = package


async def serve(settings: dict, recorder: "RecorderApart") -> None:
    """Listen until a signal comes."""
    from mitmproxy import options
    from mitmproxy.tools.dump import DumpMaster

    from traces.proxy.addon import Config, Gateway

    config = Config(
        database=recorder.path, port=settings["port"], providers=settings["providers"], open=bool(settings["open"])
    )
    master = DumpMaster(
        options.Options(
            listen_host=settings["host"],
            listen_port=settings["port"],
            confdir=settings["confdir"],
            ssl_verify_upstream_trusted_ca=settings["upstream_ca"] or None,
        ),
        with_termlog=False,
        with_dumper=False,
    )
    # A name of a client's may not be a host's; refusing connections is the addon's work.
    master.options.update(block_global=False, connection_strategy="lazy", body_size_limit="64m", server=True)
    master.addons.add(Gateway(config, recorder))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, master.shutdown)
    watch = asyncio.create_task(_end_with_parent(master, os.getppid()))
    await master.run()
    # Connections that the end cuts off are no news.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    watch.cancel()


async def _end_with_parent(master: object, parent: int) -> None:
    """End when whoever started this has gone, also where the kernel does not say so."""
    while os.getppid() == parent:
        await asyncio.sleep(1)
    master.shutdown()  # type: ignore[attr-defined]


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="{asctime} {levelname} {name}: {message}", style="{")
    # mitmproxy tells of each connection that fails, with the addresses that people asked for.
    logging.getLogger("mitmproxy").setLevel(logging.ERROR)
    _find_traces()
    from traces.proxy.wire.apart import RecorderApart

    settings = json.loads(os.environ["ONESHOT_GATEWAY_CONFIG"])
    asyncio.run(serve(settings, RecorderApart(Path(settings["database"]), name="gateway")))
