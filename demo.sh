#!/bin/sh
# The README's first line (Linux, macOS): install HandCoach into .venv and show the demo. Run: sh demo.sh
#
# What Python itself lacks it installs where it may (root on Debian or Ubuntu), and names where it may not.
# PYTHON=... chooses the interpreter; further words go to `handcoach demo`.
set -u
here=$PWD # the demo's video is written where the line was pasted
cd "$(dirname "$0")" || exit 1
root=$PWD

die() { printf '%s\n' "$*" >&2; exit 1; }
has() { "$python" -c "$1" >/dev/null 2>&1; }
new_enough='import sys; assert sys.version_info >= (3, 11)'

find_missing() { # sets python (empty: none is new enough) and missing (Debian packages)
    missing=
    for want in "import venv, ensurepip, tkinter" "import venv, ensurepip" "pass"; do # the most complete one
        for python in ${PYTHON:-python3 /usr/bin/python3 python3.11 python3.12 python3.13 python3.14}; do
            has "$new_enough; $want" && break 2
        done
        python=
    done
    if [ -n "$python" ]; then
        # Both, as the Python that lacks one may be none of Debian's: with both, Debian's is complete.
        has "import venv, ensurepip, tkinter" || missing="python3-venv python3-tk"
    elif ! command -v python3 >/dev/null; then
        missing="python3 python3-venv python3-tk"
    fi
}

find_missing
debian=false
[ "$(uname)" = Linux ] && command -v apt-get >/dev/null && debian=true
if $debian && [ -n "$missing" ] && [ "$(id -u)" = 0 ]; then
    echo "Installing system packages: $missing"
    # shellcheck disable=SC2086  # one word for each package
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; } \
        >/dev/null || echo "apt-get did not succeed; going on to see what is there."
    find_missing
fi
if [ -z "$python" ] && ! { $debian && [ -n "$missing" ]; }; then
    found=$(python3 --version 2>&1) || found="none"
    die "HandCoach needs Python 3.11 or newer and found $found:" \
        "install one from https://www.python.org and run this again."
fi
if [ -z "$python" ] || ! has "import venv, ensurepip"; then # without Tk there is still a video: the demo says so
    $debian || die "$python cannot make environments (no ensurepip): install a complete Python and run this again."
    die "HandCoach needs these system packages; install them and run this again: sudo apt install $missing"
fi

echo "Installing HandCoach into $root/.venv (about 400 MB)."
"$python" -m venv .venv || die "No virtual environment could be made in $root/.venv."
PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install . ||
    die "The installation failed; the lines above say why."
cd "$here" && exec "$root/.venv/bin/handcoach" demo "$@"
