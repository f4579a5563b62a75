#!/usr/bin/env bash
# Write constraints.txt: every version of the whole tree, from a clean environment.
# Called by `make lock` as: bash .ci/lock.sh PYTHON
# torch is moved by hand: edit its pin first, since its builds (CPU, CUDA) differ in their suffix.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
torch=$(grep '^torch==' constraints.txt)

"$1" -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip --disable-pip-version-check)
"${pip[@]}" install -q --upgrade pip
echo "$torch" >"$folder/torch.txt"
"${pip[@]}" install -q "$torch+cpu" || "${pip[@]}" install -q "$torch"
"${pip[@]}" install -q -c "$folder/torch.txt" -e '.[bench,dev]' uv
"${pip[@]}" check
{
  echo "# The whole tree of leanboard[bench,dev], pinned. Made by \`make lock\`; do not edit by hand,"
  echo "# except torch, whose pin \`make lock\` keeps. uv is used by .ci/setup.sh only."
  "${pip[@]}" freeze --all --exclude leanboard | sed 's/^\(torch==[^+]*\)+.*/\1/' | LC_ALL=C sort -f
} >"$folder/constraints.txt"
mv "$folder/constraints.txt" constraints.txt
