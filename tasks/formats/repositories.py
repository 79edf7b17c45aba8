"""Where a task's repository is fetched from, and which state of it is the base: read and checked, never fetched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tasks.formats.fields import Fields
from tasks.patches import unsafe_path
from tasks.problems import shown

SCHEMES = ("https", "http", "ssh", "git", "file")
FORMS = "Write https://…, ssh://…, git@host:owner/name.git, file:///…, or the path of a local repository."

HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*|[0-9a-fA-F:]+")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
SCP = re.compile(r"(?:(?P<user>[^@/:]*)@)?(?P<host>[^@/:]+|\[[^\]]*\]):(?P<path>.*)", re.DOTALL)
COMMIT = re.compile(r"[0-9a-fA-F]{7,64}")
BAD_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock(/|$)|(^|/)\.|[/.]$|^/")


def read_repository(
    meta: Fields, info: dict[str, Any], *, directory: Path, local_repositories: bool, may_be_absent: bool
) -> tuple[dict[str, Any], str]:
    """Return (repo as TaskVersion keeps it, its address for the digest).

    A task that brings all its files (`may_be_absent`) needs no repository: the fields are empty then.

    `repo` of the metadata is read, `repository` as older files have it, and what repo_info.json says where both
    are silent. Whatever must not reach a git command line becomes a problem.
    """
    repo = meta.object("repo")
    if not repo.data and meta.data.get("repository") is not None:
        repo = meta.object("repository")
    key = next((name for name in ("git_url", "clone_url", "url") if repo.data.get(name)), "git_url")
    url = repo.text(key, most=2000).strip() or _first_remote(info)
    if not url and may_be_absent:
        return {"git_url": "", "branch": "", "start_commit_sha": "", "subdir": "", "sparse_checkout": []}, ""
    place = _Place(repo, key, url, directory)
    if place.local and not local_repositories:
        repo.refuse(key, "A repository on this machine cannot be named here. Give the URL of a server.")
    found = {
        "git_url": place.usable(),
        "branch": _branch(repo, info),
        "start_commit_sha": _base(repo, info),
        "end_commit_sha": _end(repo, info),
        "subdir": _subdir(repo),
        "sparse_checkout": _sparse(repo),
    }
    return found, place.address()


def fault_of_url(url: str) -> str:
    """Return why git must not be given this address, or ""."""
    if not url:
        return "The task names no repository. " + FORMS
    if re.search(r"[\x00-\x20\x7f]", url):
        return "It holds a space or a control character. " + FORMS
    if url.startswith("-"):
        return "It would be taken for an option of git. " + FORMS
    if re.match(r"[A-Za-z0-9]*::", url):
        return "It asks git to run a helper program, which is never done. " + FORMS
    if re.match(r"[A-Za-z]:", url) or "\\" in url:
        return "It looks like a path on Windows. " + FORMS
    if "://" in url:
        return _fault_of_full_url(url)
    if not url.startswith(("/", ".")) and (match := SCP.fullmatch(url)):
        user, host, path = match["user"], match["host"].strip("[]"), match["path"]
        if (user is not None and not USER.fullmatch(user)) or not HOST.fullmatch(host) or not path or path[0] == "-":
            return "It is no address that git understands. " + FORMS
    return ""


def _fault_of_full_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, user, password, _port = parts.hostname, parts.username, parts.password, parts.port
    except ValueError:
        return "It is no URL. " + FORMS
    if parts.scheme not in SCHEMES:
        return f"{parts.scheme or 'An empty scheme'} is no way to fetch a repository. " + FORMS
    if parts.scheme == "file":
        return "" if host in (None, "localhost") and parts.path.startswith("/") else "A file URL is file:///full/path."
    if password is not None or (user is not None and parts.scheme.startswith("http")):
        return "It holds a user or password, which would be stored and shown. Let git's credential helper give it."
    if not host or not HOST.fullmatch(host) or (user is not None and not USER.fullmatch(user)):
        return "It is no URL of a server. " + FORMS
    return "" if parts.path.strip("/") and not parts.path.startswith("/-") else "It names a server but no repository."


def fault_of_ref(name: str) -> str:
    """Return why this is no name of a branch or tag, by the rules of git check-ref-format; "" when it is one."""
    if name.startswith("-"):
        return "It would be taken for an option of git. Write the plain name of the branch."
    if BAD_IN_REF.search(name) or name == "@" or len(name) > 250:
        return "It is no name of a branch. Write it as `git branch` shows it."
    return ""


class _Place:
    """The address of a repository, as it was written."""

    def __init__(self, repo: Fields, key: str, url: str, directory: Path) -> None:
        self.url = url
        self.directory = directory
        self.fault = fault_of_url(url)
        self.scp = None if "://" in url or url.startswith(("/", ".")) else SCP.fullmatch(url)
        self.local = not self.fault and (url.startswith("file:") or ("://" not in url and not self.scp))
        if self.fault:
            # A password is the one thing that must not be repeated.
            repo.draft.refuse(repo.file, repo.place(key), shown(re.sub(r"//[^/@]*@", "//***@", url)), self.fault)
        elif self.local:
            self._check_local(repo, key)

    def path(self) -> Path:
        """Return where a local repository lies; a relative path counts from the task's directory."""
        return Path(unquote(urlsplit(self.url).path)) if self.url.startswith("file:") else self.directory / self.url

    def _check_local(self, repo: Fields, key: str) -> None:
        if self.path().exists():
            return
        message = f"There is nothing at {shown(str(self.path()))}. " + FORMS
        if self.url.startswith(("/", "file:")):
            repo.note(key, "There is nothing there now; preparing the task will fail until there is.")
        else:
            repo.refuse(key, message)

    def usable(self) -> str:
        """Return the address to give to git; a relative path is made absolute."""
        if self.local and not self.url.startswith(("/", "file:")):
            return str(self.path().resolve())
        return self.url

    def address(self) -> str:
        """Return what is the same for https, ssh and file forms of one address: host and path."""
        if self.fault:
            return ""
        if self.local:
            path = str(self.path()) if self.url.startswith(("/", "file:")) else self.url
            return path.rstrip("/").removesuffix(".git").rstrip("/")
        if self.scp:
            host, path = self.scp["host"], self.scp["path"]
        else:
            parts = urlsplit(self.url)
            host, path = parts.hostname or "", parts.path
            host += f":{parts.port}" if parts.port not in (None, 22, 80, 443, 9418) else ""
        return f"{host.lower()}/{path.strip('/').removesuffix('.git')}"


def _first_remote(info: dict[str, Any]) -> str:
    remotes = info.get("remote_urls")
    first = remotes[0] if isinstance(remotes, list) and remotes else ""
    return first.strip() if isinstance(first, str) else ""


def _said(info: dict[str, Any], key: str) -> str:
    value = info.get(key)
    return value.strip() if isinstance(value, str) else ""


def _branch(repo: Fields, info: dict[str, Any]) -> str:
    name = repo.text("branch", most=1000).strip() or _said(info, "branch")
    if name in ("", "HEAD"):
        return ""
    if fault := fault_of_ref(name):
        repo.draft.refuse(repo.file, repo.place("branch"), shown(name), fault)
        return ""
    return name


def _base(repo: Fields, info: dict[str, Any]) -> str:
    keys = ("start_commit_sha", "start_commit", "base_commit", "commit")
    key = next((name for name in keys if repo.data.get(name)), keys[0])
    commit = repo.text(key, most=1000).strip() or _said(info, "start_commit")
    if not commit or commit.upper() == "HEAD":
        message = "No base commit is named: the tip of the branch at the first preparation is taken and kept."
        repo.draft.note(repo.file, repo.place(key), shown(commit), message)
        return "HEAD"
    if not COMMIT.fullmatch(commit):
        message = "It is no commit id. Write the 40 hex digits that `git rev-parse` gives, or HEAD."
        repo.draft.refuse(repo.file, repo.place(key), shown(commit), message)
        return ""
    return commit.lower()


def _end(repo: Fields, info: dict[str, Any]) -> str:
    commit = repo.text("end_commit_sha", "end_commit", most=1000).strip() or _said(info, "end_commit")
    if commit and not COMMIT.fullmatch(commit):
        message = "It is no commit id, and is left out: only the reference diff counts."
        repo.draft.note(repo.file, repo.place("end_commit_sha"), shown(commit), message)
        return ""
    return commit.lower()


def _subdir(repo: Fields) -> str:
    path = repo.text("subdir", most=1000).strip().removeprefix("./").rstrip("/")
    if path in ("", "."):
        return ""
    why = "holds a backslash" if "\\" in path else unsafe_path(path)
    if why or path.startswith("-"):
        why = why or "would be taken for an option"
        repo.refuse("subdir", f"The path {why}. Write a directory relative to the repository, such as packages/core.")
        return ""
    return path


def _sparse(repo: Fields) -> list[str]:
    patterns = []
    for position, pattern in enumerate(repo.texts("sparse_checkout")):
        bare = pattern.strip().removeprefix("!").strip("/")
        if not pattern.strip():
            continue
        why = "holds a backslash" if "\\" in bare else unsafe_path(bare) if bare else ""
        if why or bare.startswith("-"):
            place = f"{repo.place('sparse_checkout')}[{position}]"
            message = f"The path {why or 'would be taken for an option'}. Write one relative to the repository."
            repo.draft.refuse(repo.file, place, shown(pattern), message)
        else:
            patterns.append(pattern.strip())
    return patterns
