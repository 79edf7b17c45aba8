"""How a request and its answer are kept: messages once each, deltas of a stream joined, secrets taken out."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from ...redaction import redact

MESSAGE_LISTS = ("messages", "input")
# How many hashes of messages are remembered, so that a history that is sent again is not redacted again.
MOST_REMEMBERED = 20_000
_DELTA = b'"delta"'


class Messages:
    """Takes requests apart. Remembers what it has seen, so that it is used by one thread."""

    def __init__(self) -> None:
        self._hashes: OrderedDict[bytes, str] = OrderedDict()

    def forget(self) -> None:
        """Forget what was seen: after a write that failed, or into another database."""
        self._hashes.clear()

    def take_apart(
        self, body: bytes, document: dict[str, Any] | None, secrets: tuple[str, ...]
    ) -> tuple[bytes, list[str], dict[str, bytes]]:
        """Take a body, and the document that it is if it is one; the document is changed.

        Return (packed head, hashes of the messages in order, packed bodies of those not seen before by hash).
        """
        if document is None:
            head: dict[str, Any] = {"_raw": redact(body.decode("utf-8", "replace"), extra=secrets)} if body else {}
            return pack(json.dumps(head)), [], {}
        hashes: list[str] = []
        new: dict[str, bytes] = {}
        name = next((name for name in MESSAGE_LISTS if isinstance(document.get(name), list)), "")
        for message in document.pop(name, []) if name else []:
            text = canonical(message)
            raw_key = hashlib.blake2b("\0".join((text, *secrets)).encode("utf-8", "replace"), digest_size=16).digest()
            known = self._hashes.get(raw_key)
            if known is None:
                kept = canonical(redacted(message, text, secrets))
                known = hashlib.sha256(kept.encode("utf-8", "replace")).hexdigest()
                new[known] = pack(kept)
                self._hashes[raw_key] = known
                if len(self._hashes) > MOST_REMEMBERED:
                    self._hashes.popitem(last=False)
            else:
                self._hashes.move_to_end(raw_key)
            hashes.append(known)
        return pack(canonical(redacted(document, canonical(document), secrets))), hashes, new


def redacted(document: Any, text: str, secrets: tuple[str, ...]) -> Any:
    """Return `document`, whose JSON is `text`, with secrets replaced inside its strings, so that it stays JSON."""
    clean = redact(text, extra=secrets)
    if clean == text:
        return document
    try:
        return json.loads(clean)
    except ValueError:
        return _map_strings(document, lambda string: redact(string, extra=secrets))


def _map_strings(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_map_strings(item, change) for item in value]
    if isinstance(value, dict):
        return {change(str(key)): _map_strings(item, change) for key, item in value.items()}
    return value


def kept_answer(body: bytes, secrets: Iterable[str], *, is_stream: bool) -> bytes:
    """Return an answer's text as it is kept: runs of deltas of a stream are joined, secrets are taken out."""
    if is_stream:
        body = join_deltas(body)
    return pack(redact(body.decode("utf-8", "replace"), extra=tuple(secrets)))


def join_deltas(stream: bytes) -> bytes:
    """Return a stream of events with each run of deltas of the same thing as one event.

    A secret that the model says piece by piece would otherwise be in none of the pieces, and yet in their sum.
    """
    out: list[bytes] = []
    run: _Run | None = None
    for block in stream.replace(b"\r\n", b"\n").split(b"\n\n"):
        if not block.strip():
            continue
        delta = _Run.begin(block) if _DELTA in block else None
        if run is not None and delta is not None and delta.key == run.key:
            run.texts += delta.texts
            continue
        if run is not None:
            out.append(run.block())
        run = delta
        if delta is None:
            out.append(block)
    if run is not None:
        out.append(run.block())
    return b"\n\n".join([*out, b""])


class _Run:
    """Deltas of the same thing, one after the other."""

    def __init__(self, key: tuple[Any, ...], document: dict[str, Any], place: tuple[Any, ...], text: str) -> None:
        self.key = key
        self.document = document
        self.place = place
        self.texts = [text]

    @classmethod
    def begin(cls, block: bytes) -> _Run | None:
        """Read an event; None when it is no delta of a text."""
        data = b"".join(line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:"))
        document = parsed(data)
        if document is None:
            return None
        kind, delta = document.get("type"), document.get("delta")
        if isinstance(delta, str):
            where = tuple(str(document.get(n)) for n in ("item_id", "output_index", "content_index", "summary_index"))
            return cls((kind, *where), document, ("delta",), delta)
        if kind == "content_block_delta" and isinstance(delta, dict):
            for name in ("text", "partial_json", "thinking"):
                if isinstance(delta.get(name), str):
                    return cls((kind, document.get("index"), name), document, ("delta", name), delta[name])
            return None
        return cls._of_choice(document)

    @classmethod
    def _of_choice(cls, document: dict[str, Any]) -> _Run | None:
        """Read a chunk of the Chat Completions API that brings text of one choice and nothing else."""
        choices = document.get("choices")
        if document.get("usage") or not isinstance(choices, list) or len(choices) != 1:
            return None
        choice = choices[0]
        delta = choice.get("delta") if isinstance(choice, dict) else None
        if not isinstance(delta, dict) or choice.get("finish_reason") or delta.get("role"):
            return None
        named = [name for name, value in delta.items() if value]
        if len(named) != 1:
            return None
        [name] = named
        value, index = delta[name], choices[0].get("index")
        if isinstance(value, str):
            return cls(("choice", index, name), document, ("choices", 0, "delta", name), value)
        call = value[0] if name == "tool_calls" and isinstance(value, list) and len(value) == 1 else None
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or value[0].get("id") or not isinstance(function.get("arguments"), str):
            return None
        place = ("choices", 0, "delta", "tool_calls", 0, "function", "arguments")
        return cls(("call", index, value[0].get("index")), document, place, function["arguments"])

    def block(self) -> bytes:
        """Return the run as one event."""
        target: Any = self.document
        for step in self.place[:-1]:
            target = target[step]
        target[self.place[-1]] = "".join(self.texts)
        kind = self.document.get("type")
        head = f"event: {kind}\n" if isinstance(kind, str) else ""
        return f"{head}data: {canonical(self.document, sort=False)}".encode("utf-8", "replace")


def parsed(data: bytes) -> dict[str, Any] | None:
    """Return a JSON object, or None."""
    if data.lstrip()[:1] != b"{":
        return None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def canonical(value: Any, *, sort: bool = True) -> str:
    """Return JSON that is the same for the same value."""
    return json.dumps(value, sort_keys=sort, separators=(",", ":"), ensure_ascii=False)


def pack(data: str | bytes) -> bytes:
    """Compress a text as the proxy database keeps it."""
    return zlib.compress(data.encode("utf-8", "replace") if isinstance(data, str) else data, 1)
