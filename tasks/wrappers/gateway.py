"""Where this installation's gateway is, whether it answers, and how a client comes to trust it."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from traces.proxy.wire.schema import installation_of

PORT = 18080
PATIENCE_S = 0.3
# What `traces.proxy.gateway` calls itself; importing that would bring Django along.
SERVICE = "oneshot-gateway"
CA_FILE = Path("proxy") / "ca" / "mitmproxy-ca-cert.pem"
SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


@dataclass(frozen=True)
class Gateway:
    """The gateway as seen from here. `problem` says in a sentence why it cannot be used; "" if it can."""

    host: str
    port: int
    data_dir: Path
    problem: str = ""

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def trust(self, *own: str) -> str:
        """Return a file with the gateway's certificate, those in the files `own`, and the system's.

        Raises OSError when the gateway has made no certificate yet.
        """
        parts = [(self.data_dir / CA_FILE).read_bytes()]
        for path in (*own, *SYSTEM_BUNDLES):
            if path and Path(path).is_file():
                parts.append(Path(path).read_bytes())
                if path in SYSTEM_BUNDLES:
                    break
        return str(_written(self.data_dir / "proxy" / "trust", b"\n".join(parts)))


def find(data_dir: Path, env: dict[str, str]) -> Gateway:
    """Return the gateway that this installation would run on this machine, and whether it answers right now."""
    settings = {**_settings_beside(data_dir), **env}
    try:
        port = int(settings.get("ONESHOT_GATEWAY_PORT", "") or PORT)
    except ValueError:
        return Gateway("127.0.0.1", PORT, data_dir, "ONESHOT_GATEWAY_PORT is not a number")
    host = settings.get("ONESHOT_GATEWAY_HOST", "") or "127.0.0.1"
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - where it listens, not where we do
    return Gateway(host, port, data_dir, _problem(host, port, data_dir))


def _problem(host: str, port: int, data_dir: Path) -> str:
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/health")
        document = json.loads(connection.getresponse().read(65536))
    except (OSError, http.client.HTTPException, ValueError):
        return f"The gateway does not answer on {host}:{port} (start it with `oneshot up` or `oneshot proxy`)"
    finally:
        connection.close()
    if not isinstance(document, dict) or document.get("service") != SERVICE:
        return f"What answers on {host}:{port} is not OneShot's gateway (set ONESHOT_GATEWAY_PORT)"
    own = installation_of(data_dir / "proxy" / "proxy.sqlite3")
    if document.get("installation", own) != own:
        return f"The gateway on {host}:{port} is another installation's (set ONESHOT_GATEWAY_PORT for each)"
    return ""


def _settings_beside(data_dir: Path) -> dict[str, str]:
    """Return ONESHOT_GATEWAY_* of the `.env` beside the data, which the gateway reads too."""
    found = {}
    for path in (data_dir / ".env", data_dir.parent / ".env"):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            continue
        for line in lines:
            name, _, value = line.removeprefix("export ").partition("=")
            if name.strip().startswith("ONESHOT_GATEWAY_"):
                found[name.strip()] = value.strip().strip("\"'")
        break
    return found


def _written(folder: Path, data: bytes) -> Path:
    path = folder / f"{hashlib.sha256(data).hexdigest()[:16]}.pem"
    if path.is_file():
        return path
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".new-")
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    Path(temporary).replace(path)
    return path
