#!/usr/bin/env bash
# Make the virtual environment and install leanboard into it, with every version pinned.
# Called by `make setup` as: bash .ci/setup.sh PYTHON FOLDER
set -euo pipefail
python=$1
venv=$2
pip=("$venv/bin/python" -m pip --disable-pip-version-check)

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$@" >&2; exit 1; }
has_pip() { "${pip[@]}" --version >/dev/null 2>&1; }

check_python() {
  command -v "$python" >/dev/null || fail "'$python' was not found." \
    "Install Python 3.11 or newer (Debian: apt install python3), or name one: make setup PYTHON=python3.12"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail \
    "leanboard needs Python 3.11 or newer; '$python' is $("$python" -V 2>&1)." \
    "Name another one: make setup PYTHON=python3.12"
}

# Debian keeps a part of `venv` (ensurepip) in a package of its own, python3-venv. Without it, the
# system's pip can install pip into a bare environment.
make_venv() {
  has_pip && return
  "$python" -m venv --clear "$venv" >/dev/null 2>&1 && has_pip && return
  say "this Python has no ensurepip; taking pip from the system's pip"
  "$python" -m venv --clear --without-pip "$venv" &&
    "$python" -m pip --python "$venv/bin/python" install -q pip 2>/dev/null && has_pip && return
  if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
    say "installing Debian's python3-venv"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    "$python" -m venv --clear "$venv" && has_pip && return
  fi
  fail "'$python' cannot make a virtual environment: neither ensurepip nor pip is there." \
    "Debian and Ubuntu: sudo apt install python3-venv     then run make again."
}

has_nvidia_driver() { [[ -e /proc/driver/nvidia/version ]] || nvidia-smi >/dev/null 2>&1; }
pinned() { sed -n "s/^$1==\([^ ;]*\).*/\1/p" constraints.txt; }

# PyPI's torch for Linux is the CUDA build, gigabytes that a machine without a driver cannot use.
install_torch() {
  local version
  version=$(pinned torch)
  "$venv/bin/python" - "$version" <<'PY' && return
import importlib.metadata, sys
try:
    installed = importlib.metadata.version("torch")
except importlib.metadata.PackageNotFoundError:
    sys.exit(1)
sys.exit(installed.split("+")[0] != sys.argv[1])
PY
  if has_nvidia_driver; then
    say "NVIDIA driver found: torch $version with CUDA"
    "${pip[@]}" install -q -c constraints.txt torch
  elif "${pip[@]}" install -q "torch==$version+cpu" 2>/dev/null; then
    say "no NVIDIA driver: torch $version for the CPU"
  elif "${pip[@]}" install -q -c constraints.txt uv &&
    "$venv/bin/uv" pip install -q --python "$venv/bin/python" --torch-backend=cpu "torch==$version"; then
    say "no NVIDIA driver: torch $version for the CPU, through uv"
  else
    say "the CPU build of torch could not be had; taking the default build (several GB)"
    "${pip[@]}" install -q -c constraints.txt torch
  fi
}

check_python
make_venv
# Packages that come as source are built with the pinned setuptools, not with tomorrow's. pip reads
# one of the two names, by its age, as a list of words: hence a copy whose path has no space.
pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
cp constraints.txt "$pins"
export PIP_CONSTRAINT=$pins PIP_BUILD_CONSTRAINT=$pins
say "installing the pinned packages (a few minutes)"
"${pip[@]}" install -q -c constraints.txt pip
install_torch
"${pip[@]}" install -qq -c constraints.txt -e '.[bench,dev]'
say "done: $venv"
