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

# Imported once, before forking: a child then starts its run in milliseconds.
PRELOADED = ("docker", "runs.jobs", "runs.validation")


class Command(OneShotCommand):
    help = "Execute queued runs until told to stop. Ctrl-C once ends after the current run, twice at once."
    example = "oneshot worker"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--burst", action="store_true", help="end when the queue is empty")

    def run(self, *, burst: bool, **options: Any) -> None:
        for module in PRELOADED:
            import_module(module)
        agents.kinds()
        # What can be known before the first run is found out here and inherited by every child.
        sandboxes.warm()
        sweep.take_back_lost_runs()
        worker = django_rq.get_worker(
            queue.RUNS,
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
