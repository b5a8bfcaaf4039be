#!/usr/bin/env bash
# Checks the subject of every commit but the first: `area: lower-case imperative`, at most 72
# characters, no full stop. Commits that a shallow clone does not hold are not checked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

git rev-parse --verify --quiet HEAD >/dev/null 2>&1 || { echo "no git history here: nothing to check"; exit 0; }

readonly form='^[a-z0-9][a-z0-9_./, +-]*: [^A-Z[:space:]].*[^.[:space:]]$'
checked=0
bad=0
while IFS=$'\t' read -r commit subject; do
  checked=$((checked + 1))
  if [[ ${#subject} -gt 72 ]]; then
    echo "$commit: ${#subject} characters, at most 72: $subject"
    bad=$((bad + 1))
  elif [[ ! $subject =~ $form ]]; then
    echo "$commit: not \`area: lower-case imperative\` without a full stop: $subject"
    bad=$((bad + 1))
  fi
done < <(git log --no-merges --min-parents=1 --format=$'%h\t%s')
echo "$checked commits checked, $bad wrong"
[[ $bad -eq 0 ]]
