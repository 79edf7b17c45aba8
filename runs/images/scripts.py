"""The shell that runs inside a build. POSIX sh, for Debian, Alpine and Fedora kinds of base images alike."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence

# Where a build keeps what must not stay: removed before the image is kept.
SCRATCH = "/tmp/.oneshot-build"  # noqa: S108 - inside the container of a build
BUNDLE = f"{SCRATCH}/ca-bundle.pem"
BASE_GIT = "/opt/oneshot/base.git"
VENV = "/opt/venv"
AGENT = "10001"

# What running programs leaves behind and nobody hands in, also where a repository forgot to ignore it.
NEVER_IN_A_DIFF = (
    "__pycache__/",
    "*.py[co]",
    ".pytest_cache/",
    ".hypothesis/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".coverage",
    "/node_modules/",
)

# Arguments: the packages. Adds git, certificates, and what the languages in $ONESHOT_LANGUAGES need, where missing.
PACKAGES = r"""
set -eu
need="$*"
have() { command -v "$1" >/dev/null 2>&1; }
speaks() { case " $ONESHOT_LANGUAGES " in *" $1 "*) return 0;; esac; return 1; }
python_works() { have python3 && python3 -c 'import venv, ensurepip' >/dev/null 2>&1; }
have git || need="$need git"
[ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ] || need="$need ca-certificates"

if have apt-get; then
    ! speaks python || python_works || need="$need python3 python3-venv python3-pip"
    ! speaks node || have node || need="$need nodejs npm"
    ! speaks go || have go || need="$need golang-go"
    ! speaks rust || have cargo || need="$need cargo rustc"
    [ -n "${need# }" ] || exit 0
    set -- -o APT::Update::Error-Mode=any -o Acquire::Retries=2 -o Dpkg::Use-Pty=0
    [ -z "${SSL_CERT_FILE:-}" ] || set -- "$@" -o "Acquire::https::CAInfo=$SSL_CERT_FILE"
    if [ -n "${ONESHOT_APT_MIRROR:-}" ]; then
        cp -r /etc/apt @SCRATCH@/apt
        public='https?://(deb\.debian\.org|[a-z.]*archive\.ubuntu\.com)/(debian|ubuntu)/?'
        find @SCRATCH@/apt -name '*.list' -o -name '*.sources' | while read -r file; do
            sed -i -E "s#$public(\$|[[:space:]])#$ONESHOT_APT_MIRROR\3#" "$file"
        done
        set -- "$@" -o Dir::Etc=@SCRATCH@/apt
    fi
    echo "installing $need"
    apt-get "$@" update -qq
    apt-get "$@" install -y -qq --no-install-recommends $need
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/log/apt /var/log/dpkg.log
elif have apk; then
    ! speaks python || python_works || need="$need python3 py3-pip"
    ! speaks node || have node || need="$need nodejs npm"
    ! speaks go || have go || need="$need go"
    ! speaks rust || have cargo || need="$need cargo rust"
    [ -n "${need# }" ] || exit 0
    echo "installing $need"
    apk add --no-cache $need
elif have dnf || have microdnf || have yum; then
    manager=$(command -v dnf || command -v microdnf || command -v yum)
    ! speaks python || python_works || need="$need python3 python3-pip"
    ! speaks node || have node || need="$need nodejs npm"
    ! speaks go || have go || need="$need golang"
    ! speaks rust || have cargo || need="$need cargo rust"
    have tar || need="$need tar"
    [ -n "${need# }" ] || exit 0
    echo "installing $need"
    "$manager" install -y $need
    "$manager" clean all
elif [ -n "${need# }" ]; then
    echo "this image has no apt, apk or dnf to install:$need" >&2
    exit 1
fi
"""

# A venv of its own: Debian's Python is externally managed. pkg_resources, which older tests import, left setuptools 81.
PYTHON_TOOLS = """
set -eu
python3 -m venv @VENV@
@VENV@/bin/python -m pip install --quiet --upgrade pip 'setuptools<81' wheel @MORE@
@VENV@/bin/python -m pip list --format=freeze | tr '\\n' ' '
rm -rf /root/.cache
"""

NODE_TOOLS = """
set -eu
case $(node --version) in
v[0-9].*|v1[0-9].*) npm install --global --silent node@22 ;;
esac
hash -r
echo "node $(node --version), npm $(npm --version)"
rm -rf /root/.npm
"""

# Arguments: the working directory. The repository's archive and base.git come right after it.
LAY_OUT = """
set -eu
work=$1
grep -q '^[^:]*:[^:]*:@AGENT@:' /etc/passwd || {
    name=agent
    ! grep -q '^agent:' /etc/passwd || name=oneshot-agent
    echo "$name:x:@AGENT@:@AGENT@:OneShot agent:/home/agent:/bin/sh" >> /etc/passwd
    grep -q '^[^:]*:[^:]*:@AGENT@:' /etc/group || echo "$name:x:@AGENT@:" >> /etc/group
}
mkdir -p "$work" /home/agent /opt/oneshot
rm -rf "$work/.git" @BASE_GIT@
"""

# Arguments: the working directory. Makes the repository's own .git, with the base as its only commit.
OWN_GIT = """
set -eu
cd "$1"
rm -rf .git
cp -R @BASE_GIT@ .git
rm -f .git/index
git config --file .git/config core.bare false
git config --file .git/config core.logAllRefUpdates true
git config --file .git/config core.checkStat minimal
git config --file .git/config core.trustctime false
git config --file .git/config gc.auto 0
git config --file .git/config user.name agent
git config --file .git/config user.email agent@localhost
git --git-dir=.git --work-tree=. read-tree HEAD
"""

# Arguments: the working directory. What the set-up changed in tracked files goes back, what it added is left out of
# every diff; then all belongs to the agent's user.
FINISH = """
set -eu
cd "$1"
export GIT_DIR=@BASE_GIT@ GIT_WORK_TREE="$1" GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
plain="-c core.checkStat=minimal -c core.trustctime=false -c core.autocrlf=false -c core.fsmonitor=false"
plain="$plain -c core.quotePath=false -c core.bare=false"
rm -f "$GIT_DIR/index"
git $plain read-tree HEAD
git $plain update-index -q --really-refresh >/dev/null || true
changed=$(git $plain diff-files --name-only | head -n 20)
if [ -n "$changed" ]; then
    echo "the set-up changed files of the repository; they are put back:"
    echo "$changed"
    git $plain diff-files --name-only -z | xargs -0 rm -rf --
    git $plain checkout-index --force --all --quiet
    git $plain update-index -q --really-refresh >/dev/null || true
    left=$(git $plain diff-files --name-only | head -n 5)
    [ -z "$left" ] || { echo "these could not be put back: $left" >&2; exit 3; }
fi
mkdir -p "$GIT_DIR/info"
printf '%s\\n' @NEVER@ > "$GIT_DIR/info/exclude"
git $plain ls-files --others --exclude-standard --directory --no-empty-directory | grep -v '^"' \
    | grep -v '^\\.git/$' | sed -e 's/[][\\\\*?!# ]/\\\\&/g' -e 's#^#/#' > @SCRATCH@/left || true
if [ -s @SCRATCH@/left ]; then
    cat @SCRATCH@/left >> "$GIT_DIR/info/exclude"
    left=$(head -c 500 @SCRATCH@/left | tr '\\n' ' ')
    echo "left in the repository by the set-up, and no part of any diff: $left"
fi
unset GIT_DIR GIT_WORK_TREE
"""

CLEAN_UP = """
set -eu
cd "$1"
chown -R -h @AGENT@:@AGENT@ . /home/agent
git -c safe.directory='*' --git-dir=.git --work-tree=. update-index -q --really-refresh >/dev/null || true
chown -R -h @AGENT@:@AGENT@ .git
chown -R 0:0 /opt/oneshot
chmod -R a+rX,a-w /opt/oneshot
rm -rf @SCRATCH@ /root/.cache /root/.npm /home/agent/.cache/pip /home/agent/.npm/_cacache
find /tmp /var/tmp -mindepth 1 -delete 2>/dev/null || true
"""

# Arguments: none; the secrets come on standard input, one a line. Prints the files that hold one.
FIND_SECRETS = """
cat > @SCRATCH@/patterns
set -- /etc /home /opt /root /tmp /usr/local /var "$1"
find "$@" -path @SCRATCH@ -prune -o -type f -exec grep -lF -f @SCRATCH@/patterns {} + 2>/dev/null | head -n 10
rm -f @SCRATCH@/patterns
"""


CHECK_STATUS = 'oneshot_status=$?; [ "$oneshot_status" -eq 0 ] || exit "$oneshot_status"'


def filled(script: str, **more: str) -> str:
    """Return a script with the paths of a build put in."""
    never = " ".join(shlex.quote(rule) for rule in NEVER_IN_A_DIFF)
    values = {"SCRATCH": SCRATCH, "BASE_GIT": BASE_GIT, "VENV": VENV, "AGENT": AGENT, "NEVER": never, **more}
    for name, value in values.items():
        script = script.replace(f"@{name}@", value)
    return script


def fingerprint() -> str:
    """Return what changes whenever a script of the builders does: images are then made anew."""
    everything = [
        PACKAGES,
        PYTHON_TOOLS,
        NODE_TOOLS,
        LAY_OUT,
        OWN_GIT,
        FINISH,
        CLEAN_UP,
        filled("@NEVER@"),
        CHECK_STATUS,
    ]
    return hashlib.sha256("\0".join(everything).encode()).hexdigest()[:16]


def setup_script(lines: Sequence[str]) -> str:
    """Return the task's set-up lines as one script that shows each line and stops at the first that fails.

    The lines share one shell, so that a `cd` or an `export` holds for those after it.
    """
    parts = ["set -e"]
    for line in lines:
        shown = "\n".join(f"$ {row}" for row in line.strip().splitlines())
        # set -e looks away from `a && b`, so the status is looked at as well.
        parts += [f"printf '%s\\n' {shlex.quote(shown)}", line, CHECK_STATUS]
    return "\n".join(parts) + "\n"
