#!/usr/bin/env bash
# Says which C++ files are not formatted, and how they would be.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

mapfile -t files < <(tools/dev/project_files.py --cpp)
bad=()
for file in "${files[@]}"; do
  clang-format "$file" | diff --unified=0 --label "$file" --label "$file (formatted)" "$file" - ||
    bad+=("$file")
done
if [[ ${#bad[@]} -gt 0 ]]; then
  echo "${#bad[@]} of ${#files[@]} files are not formatted; run: tools/dev/format.sh"
  printf '  %s\n' "${bad[@]}"
  exit 1
fi
echo "${#files[@]} files are formatted"
