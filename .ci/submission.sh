#!/usr/bin/env bash
# The gate for a pull request: it adds records and changes none. What it adds is checked, and only that.
# In the checkout of the change: bash .ci/submission.sh BASE     BASE is the commit that it starts from.
set -euo pipefail
base=$1

# README.md is the only file of a store that is no record.
records() {
  git diff --no-renames "$@" "$base...HEAD" -- results/records ':!results/records/README.md'
}

published=$(records --name-status --diff-filter=a)
if [[ -n $published ]]; then
  echo "FAIL: published records are neither edited nor deleted, and this changes (M, T) or deletes (D):"
  echo "$published"
  echo "Run the cell again and add the new run as a new file: the board shows the newest."
  echo "A maintainer who must take one back: docs/submitting.md, 'Withdrawing a record'."
  exit 1
fi

added=$(mktemp)
trap 'rm -f "$added"' EXIT
records -z --name-only >"$added"
mapfile -d '' -t paths <"$added"
if ((${#paths[@]} == 0)); then
  echo "no record is added"
  exit
fi
leanboard verify --submission -- "${paths[@]}"
