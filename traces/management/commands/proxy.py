"""Runs the gateway until Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings

from oneshot.management.base import BadInput, OneShotCommand
from oneshot.processes import Child, stop_all
from traces.proxy import database_path, environment, gateway

READY_S = 30


class Command(OneShotCommand):
    help = "Record what agents and models say: a proxy and reverse paths for people, doors for runs. Ctrl-C ends it."
    example = "oneshot proxy --port 18080"
    requires_database = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", metavar="H", default=settings.GATEWAY_HOST, help="address to listen on")
        parser.add_argument("--port", metavar="P", type=int, default=settings.GATEWAY_PORT)
        parser.add_argument("--open", action="store_true", help="let other machines use all doors, not runs alone")
        parser.add_argument("--install", action="store_true", help="make mitmproxy's environment, and end")

    def run(self, *, host: str, port: int, install: bool, **options: Any) -> int:
        if not 1 <= port <= 65535:
            raise BadInput(f"--port {port}: take a number from 1 to 65535.")
        try:
            python = environment.make(self.say)
            if install:
                self.say(f"The gateway's environment is in {environment.directory()}")
                return 0
            self._check_port(host, port)
            child = gateway.child(
                python,
                host=host,
                port=port,
                open_to_all=bool(options["open"]),
                log_path=gateway.directory() / "gateway.log",
            )
        except (environment.EnvironmentProblem, gateway.BadProviders) as error:
            raise BadInput(str(error)) from error
        self.stopping = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        child.start()
        try:
            return self._serve(child, host, port)
        finally:
            stop_all([child], patience_s=6)

    def _stop(self, *_: Any) -> None:
        self.stopping = True

    def _check_port(self, host: str, port: int) -> None:
        if gateway.health(host, port):
            raise BadInput(f"A gateway is already running at {gateway.address(host, port)}.")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise BadInput(
                    f"Port {port} on {host} cannot be used: {error.strerror}. Take another one: --port, or "
                    "ONESHOT_GATEWAY_PORT for good."
                ) from error

    def _serve(self, child: Child, host: str, port: int) -> int:
        if not self._wait_until_ready(child, host, port):
            if self.stopping:
                return 0
            self.say(f"The gateway does not start:\n{child.last_words()}")
            return 1
        gateway.secure_ca()
        self._welcome(host, port)
        parent = os.getppid()
        while not self.stopping and os.getppid() == parent:
            if not child.is_running():
                if child.keeps_dying():
                    self.say(f"The gateway keeps dying; its last words:\n{child.last_words()}")
                    return 1
                self.say(f"The gateway ended; starting it again (log: {child.log_path})")
                child.start()
            time.sleep(0.1)
        return 0

    def _wait_until_ready(self, child: Child, host: str, port: int) -> bool:
        deadline = time.monotonic() + READY_S
        while not self.stopping and child.is_running() and time.monotonic() < deadline:
            if gateway.health(host, port):
                return True
            time.sleep(0.05)
        return False

    def _welcome(self, host: str, port: int) -> None:
        url = gateway.address(host, port)
        self.say(f"The gateway listens at {url} and records into {database_path()}")
        self.say(f"Certificate of its forward door: {gateway.ca_path()}")
        for line in gateway.trust_words(host, port):
            self.say(line)
        if sys.stderr.isatty():
            self.say("Ctrl-C ends it.")
