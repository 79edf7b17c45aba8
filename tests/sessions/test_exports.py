"""Exports: ATIF against the schema, OTLP spans against the rules of the format, JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from django.test import Client

from oneshot.accounts.models import Team, User
from tests.builders import make_team, make_user
from tests.sessions.builders import call, make_session, patch, refund, said
from traces.models import Session

pytestmark = pytest.mark.django_db

# The trajectory schema of Harbor (Apache License 2.0), made from its models; the format's rules beyond it are below.
SCHEMA = json.loads((Path(__file__).parent / "atif-1.8.schema.json").read_text())
HOSTILE = "</script>\u202e\x00\x1b[31m\U0001f600"


@pytest.fixture
def mira() -> User:
    return make_user("mira")


@pytest.fixture
def team(mira: User) -> Team:
    return make_team(owner=mira)


@pytest.fixture
def export(client: Client, mira: User):
    client.force_login(mira)

    def export(session: Session, name: str) -> str:
        answer = client.get(f"/sessions/{session.pk}/export/{name}")
        assert answer.status_code == 200
        assert answer.headers["Content-Disposition"].startswith("attachment")
        return b"".join(answer.streaming_content).decode()

    return export


def check_trajectory(document: dict[str, Any]) -> None:
    """Check what the schema demands, and what it says in words: numbers in order, results of calls of their step."""
    jsonschema.validate(document, SCHEMA)
    for trajectory in (document, *document.get("subagent_trajectories", [])):
        assert [step["step_id"] for step in trajectory["steps"]] == list(range(1, len(trajectory["steps"]) + 1))
        for step in trajectory["steps"]:
            calls = [made["tool_call_id"] for made in step.get("tool_calls", [])]
            assert len(calls) == len(set(calls))
            assert {result["source_call_id"] for result in step.get("observation", {}).get("results", [])} <= set(calls)
            if step["source"] != "agent":
                assert not {"tool_calls", "metrics", "reasoning_content", "model_name"} & set(step)
    names = [inner["trajectory_id"] for inner in document.get("subagent_trajectories", [])]
    assert len(names) == len(set(names))


def test_atif_is_valid_and_says_what_was_done(export, team) -> None:
    document = json.loads(export(refund(team), "atif.json"))
    check_trajectory(document)
    assert document["schema_version"] == "ATIF-v1.8"
    assert document["agent"] == {"name": "codex", "version": "0.169.0", "model_name": "gpt-5.2-codex"}
    assert [step["source"] for step in document["steps"][:3]] == ["system", "user", "agent"]
    third = document["steps"][2]
    assert third["reasoning_content"].startswith("**Looking for the split**")
    assert len(third["tool_calls"]) == len(third["observation"]["results"]) == 7
    assert third["tool_calls"][0]["arguments"] == {"command": "rg -n 'allocate(' src tests | head -1"}
    assert third["metrics"]["prompt_tokens"] == 9000
    assert third["llm_call_count"] == 1
    assert document["final_metrics"]["total_prompt_tokens"] == 412_000
    assert document["final_metrics"]["total_steps"] == len(document["steps"])
    assert document["final_metrics"]["extra"]["requests_with_unknown_cost"] == 1


def test_atif_keeps_sub_agents_apart(export, team) -> None:
    document = json.loads(export(refund(team), "atif.json"))
    (inner,) = document["subagent_trajectories"]
    assert inner["agent"]["extra"] == {"sub_agent": "explore"}
    assert inner["steps"][0]["tool_calls"][0]["function_name"] == "Bash"
    assert "docs/refunds" not in json.dumps(document["steps"])


def test_a_requests_usage_is_counted_once(export, team) -> None:
    session = refund(team)
    usage = [
        row["metrics"]["completion_tokens"]
        for row in json.loads(export(session, "atif.json"))["steps"]
        if row.get("metrics")
    ]
    assert usage == [420] * 6
    lines = [json.loads(line) for line in export(session, "steps.jsonl").splitlines()]
    assert sum("tokens" in line["request"] for line in lines if line["request"]) == 7


def test_a_session_without_steps_is_valid_too(export, team) -> None:
    session = make_session(team=team, agent_version="", model_names=[], cost_usd=None)
    document = json.loads(export(session, "atif.json"))
    check_trajectory(document)
    assert document["agent"]["version"] == "unknown"
    assert document["steps"][0]["message"] == "No step of this session was recorded."
    assert "total_cost_usd" not in document["final_metrics"]
    assert export(session, "steps.jsonl") == ""
    assert len(spans(export(session, "otlp.json"))) == 1


def test_whatever_was_said_every_export_can_be_read_back(export, team) -> None:
    session = make_session(
        team=team,
        title=HOSTILE[:100].replace("\0", ""),
        steps=[
            said("user", HOSTILE + "x" * 9000),
            call('{"cmd": ["a"]}', HOSTILE * 500, 1, call_id="same"),
            call("[1]", "", call_id="same"),
            call("no json", None, None),
            patch("no diff"),
            said("notice", "aborted"),
            said("assistant", ""),
        ],
    )
    document = json.loads(export(session, "atif.json"))
    check_trajectory(document)
    assert document["steps"][0]["message"] == HOSTILE + "x" * 9000
    done = document["steps"][1]
    assert [made["arguments"] for made in done["tool_calls"]] == [
        {"cmd": ["a"]},
        {"input": [1]},
        {"command": "no json"},
        {"patch": "no diff"},
    ]
    lines = [json.loads(line) for line in export(session, "steps.jsonl").splitlines()]
    assert lines[1]["result"] == HOSTILE * 500
    assert lines[3]["result"] is None
    assert len(spans(export(session, "otlp.json"))) == 5


def spans(text: str) -> list[dict[str, Any]]:
    (resource,) = json.loads(text)["resourceSpans"]
    (scope,) = resource["scopeSpans"]
    return scope["spans"]


def facts(span: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a span by name, each in the one form that OTLP allows."""
    found = {}
    for attribute in span["attributes"]:
        ((form, value),) = attribute["value"].items()
        assert form in ("stringValue", "intValue", "doubleValue", "boolValue", "arrayValue")
        assert isinstance(value, {"doubleValue": float, "boolValue": bool, "arrayValue": dict}.get(form, str))
        found[attribute["key"]] = value
    assert len(found) == len(span["attributes"])
    return found


def test_spans_are_a_tree_with_the_names_of_the_conventions(export, team) -> None:
    session = refund(team)
    found = spans(export(session, "otlp.json"))
    ids = {span["spanId"] for span in found}
    assert len(ids) == len(found)
    assert {span["traceId"] for span in found} == {session.pk.hex}
    roots = [span for span in found if "parentSpanId" not in span]
    assert [root["name"] for root in roots] == ["invoke_agent codex"]
    assert {span["parentSpanId"] for span in found if "parentSpanId" in span} <= ids
    for span in found:
        assert len(span["spanId"]) == 16
        assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
        operation = facts(span)["gen_ai.operation.name"]
        assert span["name"].startswith(operation + " ")
        assert span["kind"] == (3 if operation == "chat" else 1)
        if operation != "execute_tool":
            assert facts(span)["gen_ai.provider.name"] == "openai"
    kinds = [facts(span)["gen_ai.operation.name"] for span in found]
    assert (kinds.count("invoke_agent"), kinds.count("chat"), kinds.count("execute_tool")) == (2, 7, 12)


def test_a_chat_span_has_its_usage_and_what_was_answered(export, team) -> None:
    chats = [span for span in spans(export(refund(team), "otlp.json")) if span["name"] == "chat gpt-5.2-codex"]
    first, unknown = facts(chats[0]), facts(chats[3])
    assert first["gen_ai.usage.input_tokens"] == "9000"
    assert first["gen_ai.usage.cache_read.input_tokens"] == "8100"
    assert first["gen_ai.usage.reasoning.output_tokens"] == "120"
    assert first["server.address"] == "api.example.org"
    (message,) = json.loads(first["gen_ai.output.messages"])
    assert [part["type"] for part in message["parts"]] == ["reasoning", *["tool_call"] * 7]
    assert "gen_ai.usage.input_tokens" not in unknown


def test_a_failed_call_is_an_error_and_a_sub_agents_call_hangs_below_it(export, team) -> None:
    found = spans(export(refund(team), "otlp.json"))
    (failed,) = [span for span in found if span.get("status", {}).get("code") == 2]
    assert facts(failed)["process.exit.code"] == "1"
    assert facts(failed)["error.type"] == "tool_error"
    (inner,) = [span for span in found if span["name"] == "invoke_agent explore"]
    (bash,) = [span for span in found if span["name"] == "execute_tool Bash"]
    assert bash["parentSpanId"] == inner["spanId"]


def test_a_second_export_has_the_same_ids(export, team) -> None:
    session = refund(team)
    assert export(session, "otlp.json") == export(session, "otlp.json")


def test_json_lines_have_every_step_with_its_whole_texts(export, team) -> None:
    lines = [json.loads(line) for line in export(refund(team), "steps.jsonl").splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 21))
    assert lines[0]["text"] == "You are a coding agent. " * 60
    assert lines[12]["result"].startswith("4 passed")
    assert lines[10]["exit_code"] == 1
    assert lines[12]["request"]["tokens"]["input"] is None


def test_another_format_is_not_found(client, mira, team) -> None:
    client.force_login(mira)
    assert client.get(f"/sessions/{refund(team).pk}/export/trace.xml").status_code == 404
