"""What the gateway does with each request, as an addon of mitmproxy: which door it came to, where it goes, its record.

Runs in mitmproxy's own environment: standard library, mitmproxy and `wire` only.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitmproxy import http, tls

from .wire import doors
from .wire.apart import RecorderApart
from .wire.recorder import Exchange, Recorder
from .wire.schema import NotOurs, installation_of
from .wire.targets import Target, target_of
from .wire.turns import Turns
from .wire.watch import Watch, asks_a_model, decoded, is_generation, model_of

logger = logging.getLogger("oneshot.gateway")

SERVICE = "oneshot-gateway"
MAX_REQUEST_BYTES = 64 * 1024 * 1024
MOST_HOSTS = 500
KEY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:KEY|TOKEN)\Z")
_KEY_HEADERS = ("authorization", "x-api-key", "api-key")
# What a sandbox may not say to the service: who it is, where it is, and how the answer is packed.
_NOT_FORWARDED = (
    *(*_KEY_HEADERS, "cookie", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"),
    *("proxy-authorization", "accept-encoding"),
)
_NOT_RETURNED = ("set-cookie", "www-authenticate", "alt-svc")
_LOCAL_NAMES = ("localhost", "host.docker.internal", "host.containers.internal")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the gateway is told at its start. `providers` are base URLs by name; `open` lets strangers use all doors."""

    database: Path
    port: int
    providers: dict[str, str]
    open: bool = False


class Gateway:
    """The addon."""

    def __init__(self, config: Config, recorder: Recorder | RecorderApart) -> None:
        self.config = config
        self.recorder = recorder
        self.providers: dict[str, Target] = {name: target_of(url) for name, url in config.providers.items()}
        self.by_host = {target.host: name for name, target in self.providers.items()}
        self.requests: Counter[str] = Counter()
        self.hosts: Counter[str] = Counter()
        self.started = time.time()

    # Hooks of mitmproxy

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Let a client make a tunnel, unless it is a stranger."""
        if not self._may_use_all(flow):
            flow.response = _refusal(403, "not_local", "This gateway forwards for its own machine only.")
            return
        self._count_host(flow.request.host)

    def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        """Look into tunnels to model services only; all others stay closed to us."""
        address = data.context.server.address
        names = {data.client_hello.sni, address[0] if address else None}
        if not names & self.by_host.keys():
            data.ignore_connection = True

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Find the door; answer, refuse or send on."""
        try:
            self._enter(flow)
        except Exception:
            # A request on its way to someone else's service must not suffer; one that is ours has no other way.
            logger.exception("The gateway failed at a request")
            if "door" not in flow.metadata or flow.metadata["door"] != "forward":
                flow.response = _refusal(500, "gateway_error", "The gateway failed; its log says how.")

    def request(self, flow: http.HTTPFlow) -> None:
        """Begin the record of a request to a model, now that its body is there."""
        if flow.response is not None or not flow.metadata.get("generates"):
            return
        raw = flow.request.raw_content or b""
        body = decoded(raw, flow.request.headers.get("content-encoding", ""))
        door: doors.OpenDoor | None = flow.metadata.get("open_door")
        if door is None and flow.metadata["door"] == "forward" and not asks_a_model(body):
            flow.metadata["generates"] = False
            return
        flow.metadata["watch"] = Watch(
            self.recorder,
            door=flow.metadata["door"],
            method=flow.request.method,
            url=flow.request.url,
            headers=flow.metadata.pop("asked_headers", None) or list(flow.request.headers.items(multi=True)),
            body=body,
            run=door.spec.run if door else "",
            provider=flow.metadata.get("provider", ""),
            wire_bytes=len(raw),
            secrets=flow.metadata.get("secrets", ()),
            started=flow.request.timestamp_start,
        )

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Let the answer through as it comes."""
        response, watch = flow.response, flow.metadata.get("watch")
        if response is None or flow.metadata.get("ours"):
            return
        door: doors.OpenDoor | None = flow.metadata.get("open_door")
        if door is not None:
            for name in _NOT_RETURNED:
                response.headers.pop(name, None)
        if watch is None:
            # On the run door an error may repeat the key, so it is held back and read first.
            response.stream = door is None or response.status_code < 400
            return
        watch.answered(response.status_code, list(response.headers.items(multi=True)))
        if door is None or (response.status_code < 300 and watch.reader.is_stream):
            response.stream = self._tee(flow, watch, door)
            flow.metadata["streamed"] = True

    def response(self, flow: http.HTTPFlow) -> None:
        """End the record."""
        door: doors.OpenDoor | None = flow.metadata.get("open_door")
        response, watch = flow.response, flow.metadata.get("watch")
        if response is None or flow.metadata.get("ours"):
            return
        held_back = door is not None and not flow.metadata.get("streamed")
        if held_back and response.status_code >= 400 and response.raw_content:
            for secret in flow.metadata.get("secrets", ()):
                response.content = (response.get_content(strict=False) or b"").replace(secret.encode(), b"[key]")
        if watch is None:
            return
        if held_back:
            watch.feed(response.raw_content or b"")
        self._finish(flow, watch)

    def error(self, flow: http.HTTPFlow) -> None:
        """End the record of what broke off."""
        if watch := flow.metadata.get("watch"):
            self._finish(flow, watch, str(flow.error) if flow.error else "broken off")

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        """Follow the turns of a model's WebSocket."""
        if flow.metadata.get("door") in ("forward", "reverse") and flow.response is not None:
            flow.metadata["turns"] = Turns(
                self.recorder,
                door=flow.metadata["door"],
                url=flow.request.url,
                provider=flow.metadata.get("provider", ""),
                headers=list(flow.request.headers.items(multi=True)),
                response_headers=list(flow.response.headers.items(multi=True)),
            )

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Take one message; those before it are let go, or a long session would fill the memory."""
        assert flow.websocket is not None  # noqa: S101 - mitmproxy says so
        message = flow.websocket.messages[-1]
        if turns := flow.metadata.get("turns"):
            turns.take(message.content, from_client=message.from_client)
        del flow.websocket.messages[:-1]

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """End the last turn."""
        if turns := flow.metadata.get("turns"):
            turns.close()

    def done(self) -> None:
        """Write what waits."""
        self.recorder.close(5)

    # Doors

    def _enter(self, flow: http.HTTPFlow) -> None:
        request = flow.request
        first, _, _ = request.path.partition("?")[0].lstrip("/").partition("/")
        known = first in self.providers or first in ("health", "metrics", "run")
        if request.port == self.config.port and (known or self._is_own_name(flow)):
            self._own(flow, first)
        else:
            self._forward(flow)

    def _own(self, flow: http.HTTPFlow, first: str) -> None:
        path = flow.request.path.partition("?")[0]
        if first == "run":
            self.requests["run"] += 1
            flow.metadata["door"] = "run"
            self._run_door(flow)
        elif path == "/health":
            _answer(flow, json.dumps(self._health()).encode(), "application/json")
        elif not self._is_own_name(flow) or _from_a_page(flow):
            flow.metadata["ours"] = True
            flow.response = _refusal(403, "not_from_pages", "Web pages may not use this gateway.")
        elif not self._may_use_all(flow):
            flow.metadata["ours"] = True
            flow.response = _refusal(403, "not_local", "Only the run door is open to other machines here.")
        elif path == "/metrics":
            _answer(flow, self._metrics().encode(), "text/plain; version=0.0.4; charset=utf-8")
        elif first in self.providers:
            self._reverse(flow, first)
        else:
            flow.metadata["ours"] = True
            names = ", ".join(f"/{name}/…" for name in sorted(self.providers))
            flow.response = _refusal(404, "no_such_door", f"There is /health, /metrics, /run/…, {names}.")

    def _forward(self, flow: http.HTTPFlow) -> None:
        request = flow.request
        flow.metadata["door"] = "forward"
        if not self._may_use_all(flow):
            flow.metadata["ours"] = True
            flow.response = _refusal(403, "not_local", "This gateway forwards for its own machine only.")
            return
        provider = self.by_host.get(request.host, "")
        flow.metadata["provider"] = provider or request.host
        if request.scheme == "http":
            self._count_host(request.host)
        flow.metadata["generates"] = self._is_bounded(flow) and is_generation(request.method, request.path)
        if flow.metadata["generates"]:
            self.requests["forward"] += 1
        elif not request.headers.get("upgrade"):
            request.stream = True

    def _reverse(self, flow: http.HTTPFlow, provider: str) -> None:
        request = flow.request
        self.requests["reverse"] += 1
        flow.metadata.update(door="reverse", provider=provider)
        target = self.providers[provider]
        _, _, rest = request.path.lstrip("/").partition("/")
        self._send_to(flow, target, (target.path + "/" if target.path else "/") + rest)
        flow.metadata["generates"] = self._is_bounded(flow) and is_generation(request.method, request.path)

    def _run_door(self, flow: http.HTTPFlow) -> None:
        """Serve /run/<token>/<provider>/v1…, /run/<provider>/v1… with the token as key, and /run/<token>/metrics."""
        request = flow.request
        parts = request.path.lstrip("/").split("/", 3)
        keyed = len(parts) > 2 and parts[2].partition("?")[0] == "v1"
        token = _key_of(request) if keyed or len(parts) < 2 else parts[1]
        _, *rest = request.path.lstrip("/").split("/") if keyed else request.path.lstrip("/").split("/")[1:] or [""]
        try:
            door = doors.find(self.config.database, token)
        except (sqlite3.Error, OSError, NotOurs) as error:
            flow.metadata["ours"] = True
            flow.response = _refusal(503, "gateway_error", f"The gateway cannot read its doors: {error}")
            return
        problem = self._pass_run_door(flow, door, rest)
        if problem is not None:
            flow.metadata["ours"] = True
            flow.response = problem

    def _pass_run_door(self, flow: http.HTTPFlow, door: doors.OpenDoor | None, rest: list[str]) -> http.Response | None:
        request = flow.request
        if door is None:
            return _refusal(401, "invalid_token", "This token opens no door: it is unknown, or its run is over.")
        if rest and rest[0].partition("?")[0] == "metrics" and len(rest) == 1:
            _answer(flow, json.dumps(_spent(door)).encode(), "application/json")
            return None
        if request.headers.get("upgrade"):
            # 426 is the one answer that makes a client go on over plain HTTP at once.
            return _refusal(426, "no_upgrade", "This door speaks plain HTTP only.")
        if not self._is_bounded(flow):
            return _refusal(413, "too_large", f"A request may have {MAX_REQUEST_BYTES >> 20} MB.")
        target = target_of(door.spec.base_url)
        path = target.below("/" + "/".join(rest[1:]))
        if path is None or rest[0] != door.spec.provider:
            return _refusal(403, "path_not_allowed", f"This door leads to /{door.spec.provider}/v1… only.")
        if refused := door.refusal():
            door.count_refusal()
            self._record_refusal(flow, door, *refused)
            return _refusal(400, *refused)
        key, problem = _key(door.spec.key_env)
        if problem:
            return _refusal(503, "no_key", problem)
        flow.metadata.update(
            open_door=door,
            provider=door.spec.provider,
            asked_headers=list(request.headers.items(multi=True)),
            generates=is_generation(request.method, path),
            secrets=tuple(value for value in (key, *door.spec.extra_headers.values()) if value),
        )
        for name in (*_NOT_FORWARDED, door.spec.header, *door.spec.extra_headers):
            request.headers.pop(name, None)
        self._send_to(flow, target, path)
        request.headers["accept-encoding"] = "identity"
        for name, value in door.spec.extra_headers.items():
            request.headers[name] = value
        if key:
            is_bearer = door.spec.header.lower() == "authorization"
            request.headers[door.spec.header] = f"Bearer {key}" if is_bearer else key
        return None

    def _record_refusal(self, flow: http.HTTPFlow, door: doors.OpenDoor, code: str, message: str) -> None:
        now = time.time()
        self.recorder.record(
            Exchange(
                door="run",
                run=door.spec.run,
                provider=door.spec.provider,
                method=flow.request.method,
                url=door.spec.base_url,
                t_start=now,
                t_end=now,
                status=400,
                error=f"{code}: {message}",
                details={"refused": code},
            )
        )

    def _send_to(self, flow: http.HTTPFlow, target: Target, path: str) -> None:
        request = flow.request
        request.scheme, request.host, request.port = target.scheme, target.host, target.port
        request.path = path
        usual = {"http": 80, "https": 443}[target.scheme]
        request.headers["host"] = target.host if target.port == usual else f"{target.host}:{target.port}"

    # The record

    def _tee(self, flow: http.HTTPFlow, watch: Watch, door: doors.OpenDoor | None) -> Callable[[bytes], bytes]:
        def tee(data: bytes) -> bytes:
            try:
                watch.feed(data)
                if door is not None and watch.has_ended:
                    # Before the agent can know: its next request must find these tokens counted.
                    self._count(flow, watch, door)
            except Exception:
                logger.exception("The gateway failed to follow an answer")
            return data

        return tee

    def _finish(self, flow: http.HTTPFlow, watch: Watch, error: str = "") -> None:
        watch.finish(error)
        if door := flow.metadata.get("open_door"):
            self._count(flow, watch, door)

    def _count(self, flow: http.HTTPFlow, watch: Watch, door: doors.OpenDoor) -> None:
        status = watch.exchange.status
        if flow.metadata.get("counted") or status is None or status >= 300:
            return
        flow.metadata["counted"] = True
        answer = watch.reader.answer
        door.count(answer.tokens, answer.model or model_of(watch.exchange.request))

    def _is_bounded(self, flow: http.HTTPFlow) -> bool:
        length = flow.request.headers.get("content-length", "0")
        return not length.isdecimal() or int(length) <= MAX_REQUEST_BYTES

    # Who asks

    def _may_use_all(self, flow: http.HTTPFlow) -> bool:
        return self.config.open or _is_loopback(flow.client_conn.peername[0])

    def _is_own_name(self, flow: http.HTTPFlow) -> bool:
        """Whether a request names this gateway as its own machine would; a rebound name of a web page does not."""
        host = flow.request.host.strip("[]").lower()
        return host in _LOCAL_NAMES or _is_loopback(host) or host == str(flow.client_conn.sockname[0])

    def _count_host(self, host: str) -> None:
        self.hosts[host if host in self.hosts or len(self.hosts) < MOST_HOSTS else "(others)"] += 1

    # What it says of itself

    def _health(self) -> dict[str, Any]:
        counts = self.recorder.counts
        return {
            **{"status": "ok", "service": SERVICE, "pid": os.getpid()},
            "installation": installation_of(self.config.database),
            **{"recorded": counts.recorded, "gaps": counts.lost, "queue": counts.pending, "trouble": counts.trouble},
            **{"seconds": round(time.time() - self.started, 1), "requests": dict(self.requests)},
        }

    def _metrics(self) -> str:
        counts = self.recorder.counts
        lines = [
            "# TYPE oneshot_gateway_recorded_total counter",
            f"oneshot_gateway_recorded_total {counts.recorded}",
            "# TYPE oneshot_gateway_lost_total counter",
            f"oneshot_gateway_lost_total {counts.lost}",
            "# TYPE oneshot_gateway_queue gauge",
            f"oneshot_gateway_queue {counts.pending}",
            "# TYPE oneshot_gateway_requests_total counter",
            *(f'oneshot_gateway_requests_total{{door="{door}"}} {n}' for door, n in sorted(self.requests.items())),
            "# TYPE oneshot_gateway_forwarded_total counter",
            *(
                f'oneshot_gateway_forwarded_total{{host="{_label(host)}"}} {n}'
                for host, n in sorted(self.hosts.items())
            ),
        ]
        return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable() and letter not in '"\\')


def _spent(door: doors.OpenDoor) -> dict[str, Any]:
    spec, spent = door.spec, door.spent
    return {
        **{"run": spec.run, "requests": spent.requests, "refused": spent.refused},
        "tokens": {
            **{"input": spent.input, "cached": spent.cached},
            **{"cache_write": spent.cache_write, "output": spent.output},
        },
        "cost_usd": None if spent.cost_usd is None else str(spent.cost_usd),
        **{"unknown_usage": spent.unknown_usage, "unknown_cost": spent.unknown_cost},
        "token_budget": spec.token_budget,
        "cost_budget_usd": None if spec.cost_budget_usd is None else str(spec.cost_budget_usd),
        "expires_at": spec.expires_at,
    }


def _key(name: str) -> tuple[str, str]:
    """Return the service's key from this process's environment, and "" or what is wrong with it."""
    if not name:
        return "", ""
    if not KEY_NAME.match(name) or name.upper().startswith(("ONESHOT_", "DJANGO_")):
        return "", f"{name} cannot name a model key."
    key = os.environ.get(name, "").strip()
    if not key and (path := os.environ.get(f"{name}_FILE", "").strip()):
        try:
            key = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            return "", f"{name}_FILE cannot be read: {error.strerror}."
    if not key:
        return "", f"The gateway has no {name}. Set it where the gateway runs, or in its .env file."
    return (key, "") if re.fullmatch(r"[\x21-\x7e]+", key) else ("", f"{name} holds what is no key.")


def _key_of(request: http.Request) -> str:
    for name in _KEY_HEADERS:
        if value := request.headers.get(name, ""):
            return value.removeprefix("Bearer ").strip()
    return ""


def _from_a_page(flow: http.HTTPFlow) -> bool:
    """Whether a browser sent this for a web page: such a request must not spend anyone's key."""
    headers = flow.request.headers
    return "origin" in headers or headers.get("sec-fetch-site", "none") != "none"


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _answer(flow: http.HTTPFlow, body: bytes, media_type: str) -> None:
    flow.metadata["ours"] = True
    flow.response = http.Response.make(200, body, {"content-type": media_type, "cache-control": "no-store"})


def _refusal(status: int, code: str, message: str) -> http.Response:
    kind = "invalid_request_error" if code.startswith("oneshot_") else code
    body = json.dumps({"type": "error", "error": {"type": kind, "code": code, "message": message}}).encode()
    return http.Response.make(status, body, {"content-type": "application/json"})
