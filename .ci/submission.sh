#!/usr/bin/env bash
# The gate for a pull request: check the records that it adds or changes, and only those.
# In the checkout of the change: bash .ci/submission.sh BASE     BASE is the commit that it starts from.
set -euo pipefail
base=$1

changed=$(mktemp)
trap 'rm -f "$changed"' EXIT
# What is deleted cannot be checked; README.md is the only file of a store that is no record.
git diff -z --no-renames --name-only --diff-filter=d "$base...HEAD" -- \
  results/records ':!results/records/README.md' >"$changed"
mapfile -d '' -t paths <"$changed"
if ((${#paths[@]} == 0)); then
  echo "no record is added or changed"
  exit
fi
leanboard verify --submission -- "${paths[@]}"
