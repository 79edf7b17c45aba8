import base64
import json
import os
import time
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from traces.redaction import MASK, find_secrets, redact, safe_headers
from traces.secret_values import auth_file_secrets, dotenv_secrets, is_secret_value

ODD = 'ca"na/ry\\+0123 456é='


def forms(value: str) -> dict[str, str]:
    """Return the ways in which a value turns up in what agents and services say."""
    basic = base64.b64encode(f"someone:{value}".encode()).decode()
    return {
        "plain": f"the key is {value}.",
        "json": json.dumps({"key": value}),
        "json with all letters": json.dumps({"key": value}, ensure_ascii=False),
        "json in json": json.dumps({"arguments": json.dumps({"cmd": f"login {value}"})}),
        "url": f"https://x.org/?a=1&key={quote(value, safe='')}&b=2",
        "small url": f"key={quote(value, safe='').lower()}" if quote(value, safe="") == value else "",
        "form": f"key={quote_plus(value)}",
        "basic": f"Authorization: Basic {basic}",
        "base64 of a document": base64.b64encode(
            json.dumps({"auth": {"password": "x", "key": value}}).encode()
        ).decode(),
        "python": repr({"key": value}),
    }


@pytest.mark.parametrize("value", ["canary-0123456789abcdef", ODD, "Zq9/xY+7bN2mK4==", "with space and ünïcode 42"])
def test_a_value_of_the_environment_is_found_in_every_form(monkeypatch, value):
    monkeypatch.setenv("SOME_SERVICE_TOKEN", value)
    for name, text in forms(value).items():
        assert value not in redact(text), name
        assert quote(value, safe="") not in redact(text), name
        if text and "base64" not in name:
            assert MASK in redact(text), name
        decoded = b"".join(_decodable(redact(text)))
        assert value.encode() not in decoded, name


def _decodable(text: str) -> list[bytes]:
    """Return what the long words of a text hold as base64."""
    found = []
    for word in text.split():
        try:
            found.append(base64.b64decode(word + "=" * (-len(word) % 4)))
        except ValueError:
            continue
    return found


def test_json_stays_json(monkeypatch):
    monkeypatch.setenv("SOME_SERVICE_TOKEN", ODD)
    document = {"a": ODD, "b": [f"x {ODD} y", "https://me:pass-word-1@host/x"], "c": 1}
    assert json.loads(redact(json.dumps(document))) == {
        "a": MASK,
        "b": [f"x {MASK} y", f"https://{MASK}@host/x"],
        "c": 1,
    }


def test_further_values_are_taken_out_when_they_are_given():
    assert redact("word hunter2hunter2 word", extra=["hunter2hunter2"]) == f"word {MASK} word"
    assert redact("word hunter2hunter2 word") == "word hunter2hunter2 word"


def test_passwords_in_urls_of_the_environment_are_secret_alone(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgres://bob:S3cret-Pw-99@db/x")
    assert redact("connect with S3cret-Pw-99") == f"connect with {MASK}"


def test_a_secret_in_a_file_that_a_variable_names_is_known(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("from-a-file-0123456789\n")
    monkeypatch.setenv("ONESHOT_SECRET_KEY_FILE", str(tmp_path / "key"))
    assert redact("x from-a-file-0123456789 y") == f"x {MASK} y"


@pytest.mark.parametrize(
    "value", ["true", "password", "postgres", "1234567890", "/run/secrets/key", "short", "changeme"]
)
def test_ordinary_words_numbers_and_paths_are_no_secrets(monkeypatch, value):
    monkeypatch.setenv("DB_PASSWORD", value)
    assert redact(f"the {value} here") == f"the {value} here"


AUTH = {
    ".codex/auth.json": (json.dumps({"tokens": {"refresh_token": "rt.codex-0123456789"}}), "rt.codex-0123456789"),
    ".claude/.credentials.json": (
        json.dumps({"claudeAiOauth": {"accessToken": "claude-0123456789", "expiresAt": 1}}),
        "claude-0123456789",
    ),
    ".netrc": ("machine x.org login me password netrc-0123456789\n", "netrc-0123456789"),
    ".config/gh/hosts.yml": ("github.com:\n    oauth_token: ghosts-0123456789\n    user: me\n", "ghosts-0123456789"),
    ".npmrc": ("//registry.npmjs.org/:_authToken=npmrc-0123456789\n", "npmrc-0123456789"),
    ".pypirc": ("[pypi]\nusername = __token__\npassword = pypirc-0123456789\n", "pypirc-0123456789"),
    ".git-credentials": ("https://me:gitcred-0123456789@git.example.org\n", "gitcred-0123456789"),
    ".aws/credentials": ("[default]\naws_secret_access_key = aws/0123456789+x\n", "aws/0123456789+x"),
    ".docker/config.json": (json.dumps({"auths": {"r.io": {"auth": "ZG9ja2VyOjAxMjM0"}}}), "ZG9ja2VyOjAxMjM0"),
    ".cache/huggingface/token": ("huggingface-0123456789", "huggingface-0123456789"),
}


@pytest.mark.parametrize("name", AUTH)
def test_the_values_of_auth_files_are_secret(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    text, value = AUTH[name]
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
    assert value in auth_file_secrets(tmp_path)
    assert value not in redact(f"cat said {value}")


def test_the_data_directory_s_own_settings_are_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("ONESHOT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / ".env").write_text("OPENAI_API_KEY=dotenv-0123456789\nPORT=8000\nNAME='not a secret at all'\n")
    assert redact("dotenv-0123456789 not a secret at all") == f"{MASK} not a secret at all"


def test_auth_files_that_cannot_be_read_are_no_failure(tmp_path):
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex/auth.json").write_bytes(b"\xff{" + b"[" * 100_000)
    (tmp_path / ".claude").write_text("a file where a folder belongs")
    (tmp_path / ".netrc").mkdir()
    os.mkfifo(tmp_path / ".npmrc")
    assert dotenv_secrets(tmp_path / "\0") == frozenset()
    auth_file_secrets(tmp_path)


RANDOM = "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5bC7dE9fG1hJ3"
HEX = "0123456789abcdef0123456789abcdef01234567"
KEYS = {
    "openai": f"sk-{RANDOM}",
    "openai project": f"sk-proj-{RANDOM}_{RANDOM}-x1",
    "openai service account": f"sk-svcacct-{RANDOM}",
    "anthropic": f"sk-ant-api03-{RANDOM}-{RANDOM}AA",
    "anthropic oauth": f"sk-ant-oat01-{RANDOM}",
    "openrouter": f"sk-or-v1-{HEX}{HEX}",
    "github": f"ghp_{RANDOM[:36]}",
    "github app": f"ghs_{RANDOM[:36]}",
    "github fine": f"github_pat_{RANDOM[:22]}_{RANDOM}",
    "gitlab": "glpat-aB3dE5fG7hJ9kL1mN3pQ",
    "hugging face": f"hf_{RANDOM[:34]}",
    "groq": f"gsk_{RANDOM}",
    "google": "AIzaSyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q",
    "aws": "AKIAQ3EGABCDEFGHIJKL",
    "aws session": "ASIAQ3EGABCDEFGHIJKL",
    "slack": "xoxb-123456789012-abcdefghijkl",
    "slack hook": "hooks.slack.com/services/T0123456/B0123456/aB3dE5fG7hJ9",
    "stripe": f"sk_live_{RANDOM[:24]}",
    "npm": f"npm_{RANDOM[:36]}",
    "pypi": f"pypi-AgEIcHlwaS5vcmc{RANDOM}",
    "xai": f"xai-{RANDOM}{RANDOM}",
    "modal": "ak-aB3dE5fG7hJ9kL1mN3pQ5r",
    "replicate": f"r8_{RANDOM[:37]}",
    "telegram": "123456789:AAaB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY",
    "jwt": f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ{RANDOM}.{RANDOM}",
    "sendgrid": f"SG.{RANDOM[:22]}.{RANDOM[:43]}",
}


@pytest.mark.parametrize("name", KEYS)
def test_keys_are_known_by_their_shape(name):
    key = KEYS[name]
    for text in (key, f"x {key} y", f'{{"k":"{key}"}}', f"a\\n{key}\\nb", f"K={key}&b", f"\x1b[32m{key}\x1b[0m"):
        assert key not in redact(text), text
        assert text.replace(key, MASK) == redact(text), text


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA=="),
        ("curl -H 'Authorization: Bearer 4f9a8b7c6d5e4f3a2b1c0d9e'", "4f9a8b7c6d5e4f3a2b1c0d9e"),
        ('"x-api-key": "4f9a8b7c6d5e4f3a2b1c0d9e"', "4f9a8b7c6d5e4f3a2b1c0d9e"),
        ("export MISTRAL_API_KEY=abcD1234efgh5678IJKL", "abcD1234efgh5678IJKL"),
        ('{\\"refresh_token\\": \\"v1.Mr5YzTc0aB3dE5fG7\\"}', "v1.Mr5YzTc0aB3dE5fG7"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI/K7MDENG"),
        ("DefaultEndpointsProtocol=https;AccountKey=abCD12efGH34ijKL56mn/+78==;X=1", "abCD12efGH34ijKL56mn"),
        ("postgres://app:kX9-a_b.c!d@db.example.org:5432/app", "kX9-a_b.c!d"),
        ("git clone https://aB3dE5fG7hJ9kL1mN3pQ5rS7@example.org/x.git", "aB3dE5fG7hJ9kL1mN3pQ5rS7"),
    ],
)
def test_what_is_given_to_a_secret_s_name_is_taken_out(text, secret):
    assert secret not in redact(text)


HARMLESS = [
    "commit 443f425d151673fa1442963161020ab15a4c824f",
    "id 0194f2a4-7b1c-7d3e-8f90-aabbccddeeff",
    f"sha256:{'0123456789abcdef' * 4}",
    '"prompt_cache_key": "0194f2a4-7b1c-7d3e-8f90-aabbccddeeff"',
    "task-management-of-long-names-and-things-1234",
    "class='sk-loading-indicator-wrapper-for-things'",
    "the disk-usage-of-every-single-folder-2024 report",
    "self.hf_hub_download_something_long_and_longer(x)",
    'api_key = os.environ["SOME_SERVICE_API_KEY_2"]',
    "password = get_password_from_environment_2()",
    "max_tokens=120000000000 tokens: 1234567890123",
    "git@github.com:acme/widget.git and ssh://git@github.com/acme/widget",
    '{"url":"https://a.org","mail":"b:c@d.org"}',
    "http://[::1]:8000/x?y=1@2",
    "postgres://postgres:postgres@localhost/x and https://$USER:$TOKEN@example.org/ and https://{user}:{word}@host/",
    "true false none null",
    "token_type: urn:ietf:params:oauth:token-type:jwt",
    "Basic understanding and Bearer authentication",
    "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQ\n-----END CERTIFICATE-----",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_is_left_as_it_is(text):
    assert redact(text) == text


def test_the_source_of_this_project_is_left_as_it_is():
    root = Path(__file__).parents[2]
    changed = [
        (path.name, text[finding.start : finding.end])
        for folder in ("oneshot", "tasks", "runs", "benchmarks", "docs")
        for path in sorted((root / folder).rglob("*.[pm][yd]"))
        for text in [path.read_text()]
        for finding in find_secrets(text)
        if finding.kind != "url"  # the manual shows addresses with a password in them
    ]
    assert changed == []


PEM = "-----BEGIN RSA PRIVATE KEY-----\n{}\n{}\n-----END RSA PRIVATE KEY-----".format("MIIEpAIB" * 8, "AKCAQEA7" * 8)


def test_a_private_key_loses_its_lines_and_keeps_their_number():
    assert redact(PEM).splitlines() == [PEM.splitlines()[0], MASK, MASK, PEM.splitlines()[-1]]
    added = "\n".join(f"+{line}" for line in PEM.splitlines())
    assert redact(added).splitlines()[1] == f"+{MASK}"
    escaped = json.dumps({"key": PEM})
    assert "MIIEpAIB" not in redact(escaped)
    assert json.loads(redact(escaped))["key"].count("\n") == PEM.count("\n")


def test_a_private_key_that_breaks_off_is_taken_out_too():
    assert "MIIEpAIB" not in redact(PEM[:120])


def test_a_private_key_of_the_environment_is_found_line_by_line(monkeypatch):
    monkeypatch.setenv("DEPLOY_KEY", PEM)
    assert redact(f"line {'AKCAQEA7' * 8} end") == f"line {MASK} end"


def test_only_known_headers_are_kept_and_never_credentials():
    pairs = [
        ("Authorization", "Bearer x"),
        ("X-Api-Key", "x"),
        ("Cookie", "a=b"),
        ("Proxy-Authorization", "Basic x"),
        ("chatgpt-account-id", "x"),
        ("User-Agent", f"codex/1 {KEYS['openai']}"),
        ("X-Stainless-Lang", "js"),
        ("Session-Id", "0194f2a4-7b1c-7d3e-8f90-aabbccddeeff"),
    ]
    assert safe_headers(pairs) == [
        ("user-agent", f"codex/1 {MASK}"),
        ("x-stainless-lang", "js"),
        ("session-id", "0194f2a4-7b1c-7d3e-8f90-aabbccddeeff"),
    ]


@settings(deadline=None, max_examples=60)
@given(st.text(), st.sampled_from(sorted(KEYS.values())), st.text())
@example("", KEYS["openai"], "")
def test_a_key_between_anything_that_is_no_word_is_found(before, key, after):
    text = f"{before} {key} {after}"
    assert key not in redact(text)


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=400))
def test_redacting_never_fails_keeps_the_lines_and_settles(text):
    once = redact(text)
    assert once.count("\n") == text.count("\n")
    assert redact(once) == once


@settings(deadline=None, max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(sorted(KEYS.values())),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    ),
    st.booleans(),
)
def test_any_json_stays_json(document, plain):
    json.loads(redact(json.dumps(document, ensure_ascii=plain)))


@settings(deadline=None, max_examples=60)
@given(
    st.text(min_size=8, max_size=60, alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]))
)
def test_any_value_is_found_in_any_form(value):
    if value.strip() != value or not is_secret_value(value) or value in MASK:
        return
    for name in ("plain", "json", "json in json", "url", "form"):
        assert value not in redact(forms(value)[name], extra=[value]).replace(MASK, ""), name


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "sk-",
            "sk-word-",
            "eyJ",
            "\\neyJ",
            "=",
            "=a",
            "token=aaaaaaaaaaaa1",
            "://a:",
            "://a@",
            "ghp_",
            "Bearer ",
            ":AA",
        ),
        *(
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\n",
            "hooks.slack.com/services/",
            "SG.a",
            "glpat-",
        ),
    ],
)
def test_no_repetition_makes_it_slow(unit):
    text = unit * (150_000 // len(unit))
    started = time.process_time()
    redact(text)
    assert time.process_time() - started < 1.5


def test_megabytes_of_ordinary_text_are_read_in_no_time(monkeypatch):
    for number in range(10):
        monkeypatch.setenv(f"SERVICE_{number}_API_KEY", os.urandom(24).hex())
    source = "".join(path.read_text() for path in sorted(Path(__file__).parents[2].glob("t*/*.py")))
    text = json.dumps(source * (4_000_000 // len(source) + 1))
    redact(text[:100])
    started = time.process_time()
    redact(text)
    # About 50 MB/s here; a fifth of it is still asked of a busy machine.
    assert len(text) / (time.process_time() - started) > 10_000_000
