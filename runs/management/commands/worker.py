"""A worker process: takes run ids from the queue and executes them, one at a time, each in a forked child."""

from argparse import ArgumentParser
from importlib import import_module
from typing import Any

import django_rq
from django.db import connections
from redis.exceptions import ConnectionError as RedisConnectionError
from rq.serializers import JSONSerializer

from oneshot.management.base import BadInput, OneShotCommand
from runs import agents, queue, sandboxes, sweep
from runs.judging import line

# Imported once, before forking: a child then starts its run in milliseconds.
PRELOADED = {
    queue.RUNS: ("docker", "runs.jobs", "runs.validation"),
    line.JUDGE: ("openai", "runs.judging.jobs"),
}


class Command(OneShotCommand):
    help = (
        "Execute queued runs and judge them until told to stop. Ctrl-C once ends after the current one, twice at once."
    )
    example = "oneshot worker"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--burst", action="store_true", help="end when the queue is empty")
        parser.add_argument(
            "--queues",
            metavar="NAMES",
            default=f"{queue.RUNS},{line.JUDGE}",
            help="what it serves, first things first: runs, judge (default: both, so that no judging waits for ever)",
        )

    def run(self, *, burst: bool, queues: str, **options: Any) -> None:
        names = [name.strip() for name in queues.split(",") if name.strip()]
        if not names or not set(names) <= set(PRELOADED):
            raise BadInput(f"--queues {queues}: name {', '.join(PRELOADED)}, or both with a comma between.")
        for module in PRELOADED[names[0]]:
            import_module(module)
        if queue.RUNS in names:
            agents.kinds()
            # What can be known before the first run is found out here and inherited by every child.
            sandboxes.warm()
            sweep.take_back_lost_runs()
        line.take_back()
        worker = django_rq.get_worker(
            *names,
            name=queue.worker_name(),
            default_worker_ttl=queue.WORKER_TTL_S,
            # The queues' own setting does not reach a worker that is made by hand.
            serializer=JSONSerializer,
        )
        connections.close_all()
        try:
            worker.work(burst=burst, logging_level="WARNING")
        except RedisConnectionError as error:
            raise BadInput(f"Redis does not answer: {error}. Start it with `oneshot up`, or set REDIS_URL.") from error
