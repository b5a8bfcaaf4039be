#!/usr/bin/env bash
# Checks the spelling of every text file of the project; words to leave alone: .codespellrc.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tools/dev/project_files.py | xargs codespell
echo "spelling is right"
