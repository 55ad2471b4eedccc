#!/usr/bin/env bash
# Prepare a machine and the virtual environment, and build the package into it. Safe to run again: what is there is kept.
#
#   tools/system.sh [EXTRA ...]      extras of pyproject.toml, such as test lint image
#
# PYTHON chooses the interpreter (default python3), VENV the folder (default .venv).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=${VENV:-.venv}
extras=("$@")

say() { printf '== %s\n' "$*"; }

# ---- system packages: only what is missing -----------------------------------------------------
missing=()
packages=()
need() { missing+=("$1"); packages+=("$2"); }
command -v "$python" >/dev/null 2>&1 || need "$python" python3
command -v g++ >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 || need "a C++ compiler" g++
if command -v "$python" >/dev/null 2>&1; then
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    { echo "system: $python is $("$python" -V), expected Python 3.10 or later; set PYTHON=" >&2; exit 1; }
  "$python" -c 'import ensurepip, venv' 2>/dev/null || need "venv of $python" python3-venv
  header=$("$python" -c 'import os, sysconfig; print(os.path.join(sysconfig.get_path("include"), "Python.h"))')
  [ -e "$header" ] || need "$header" python3-dev
fi
if [ ${#missing[@]} -gt 0 ]; then
  say "missing: ${missing[*]}"
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "apt-get install ${packages[*]}"
    apt-get install -y --no-install-recommends "${packages[@]}" >/dev/null 2>&1 ||
      { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"; }
  else
    echo "system: please install them and start again:  sudo apt-get install ${packages[*]}" >&2
    exit 1
  fi
fi

# ---- virtual environment -----------------------------------------------------------------------
if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
  say "making $venv"
  rm -rf "$venv"
  "$python" -m venv "$venv"
fi

# ---- progress ----------------------------------------------------------------------------------
# Every so many seconds a line: what runs, and how many of the build's steps are done, which ninja writes as [DONE/ALL].
every=${PROGRESS_SECONDS:-10}

report_progress() {  # LOG PID: until the process PID is gone
  local started=$SECONDS count pause=
  trap '[ -z "$pause" ] || kill "$pause" 2>/dev/null; exit 0' TERM
  while :; do
    sleep "$every" > /dev/null &  # holds nobody's pipe open when this ends
    pause=$!
    wait "$pause" && kill -0 "$2" 2>/dev/null || return 0
    count=$(grep -oE '\[[0-9]+/[0-9]+\]' "$1" 2>/dev/null | tail -n 1 | tr -d '[]' || true)
    if [ -n "$count" ]; then
      say "$((SECONDS - started)) s: built ${count%/*} of ${count#*/}"
    else
      say "$((SECONDS - started)) s: fetching what the build needs"
    fi
  done
}

# ---- build and install -------------------------------------------------------------------------
# The build folder (build/) stays, so that a second run compiles what changed only; nothing at all is done when no source
# is newer than the last installation and it had these extras.
stamp=$venv/.pathweave-installed
had=$(cat "$stamp" 2>/dev/null || true)
complete=yes
for extra in "${extras[@]}"; do
  case " $had " in *" $extra "*) ;; *) complete=no ;; esac
done
if [ -e "$stamp" ] && [ $complete = yes ] &&
   [ -z "$(find native include cmake src CMakeLists.txt pyproject.toml -newer "$stamp" -not -name '*.pyc' \
           -not -name __pycache__ -print -quit)" ]; then
  exit 0
fi
all=$(printf '%s\n' $had "${extras[@]}" | sort -u | paste -sd, | sed 's/^,//')
rm -f "$stamp"
echo "${all//,/ }" > "$stamp.begun"  # dated before the build: what changes meanwhile is built the next time
say "building and installing pathweave${all:+ with $all}; the first time this takes two to five minutes on two cores"
case ",$all," in *,test,*) export PATHWEAVE_EMULATED_TIERS=ON ;; esac
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc 2>/dev/null || echo 2)}
log=$venv/pathweave-install.log
: > "$log"
report_progress "$log" $$ &
reporter=$!
trap 'kill "$reporter" 2>/dev/null || true' EXIT
begun=$SECONDS
# What builds lies in the environment itself: in one of pip's own, which is a new one each time, all would be compiled again.
requires=$(sed -n 's/^requires = \[\(.*\)\]$/\1/p' pyproject.toml | tr -d '",')
install() { "$venv/bin/python" -m pip install --disable-pip-version-check "$@" >> "$log" 2>&1; }
# shellcheck disable=SC2086  # words, none of which holds a space
if ! { install $requires "cmake>=3.24" "ninja>=1.10" &&
       NINJA_STATUS='[%f/%t] ' PYTHONUNBUFFERED=1 install -v --no-build-isolation ".${all:+[$all]}"; }; then
  tail -n 60 "$log" >&2
  echo "system: the installation failed after $((SECONDS - begun)) s; the whole output is in $log" >&2
  exit 1
fi
say "installed in $((SECONDS - begun)) s"
mv "$stamp.begun" "$stamp"
