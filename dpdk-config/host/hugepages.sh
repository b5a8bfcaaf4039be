#!/usr/bin/env bash
# Reserves 2-MiB hugepages, the memory that DPDK takes packet buffers from.
set -euo pipefail

readonly name=hugepages.sh
readonly pages_dir=/sys/kernel/mm/hugepages/hugepages-2048kB
readonly page_mib=2

usage() {
  cat <<'EOF'
usage: hugepages.sh [--dry-run] [COUNT]

Makes sure that at least COUNT hugepages of 2 MiB are reserved (default 512 = 1 GiB).
Never gives pages back, changes nothing when enough are there, prints what it changed.
The reservation lasts until the next start of the machine.

  --dry-run   say what would be done, change nothing
  --help      this text
EOF
}

fail() {
  echo "$name: $*" >&2
  exit 1
}

count=512
dry_run=false
for argument in "$@"; do
  case $argument in
    --dry-run) dry_run=true ;;
    --help) usage; exit 0 ;;
    -*) fail "unknown option $argument; see --help" ;;
    *[!0-9]* | '') fail "COUNT must be a whole number of pages, not '$argument'; see --help" ;;
    *) count=$((10#$argument)) ;;
  esac
done

[[ $count -ge 1 && $count -le 1048576 ]] || fail "COUNT must be 1..1048576 pages, not $count"
[[ -r $pages_dir/nr_hugepages ]] ||
  fail "this kernel offers no 2-MiB hugepages; run penstock-data with --no-huge"

before=$(<"$pages_dir/nr_hugepages")
if [[ $before -ge $count ]]; then
  echo "hugepages: $before of $page_mib MiB are reserved, $count wanted: nothing to do"
  exit 0
fi

# A reservation that starves the rest of the machine is worse than none.
wanted_kib=$(((count - before) * page_mib * 1024))
available_kib=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)
[[ $wanted_kib -le $((available_kib / 2)) ]] ||
  fail "$((wanted_kib / 1024)) MiB more is over half of the $((available_kib / 1024)) MiB available;" \
    "ask for fewer pages, or run penstock-data with --no-huge"

if $dry_run; then
  echo "hugepages: would raise the reservation from $before to $count pages of $page_mib MiB"
  exit 0
fi
[[ $EUID -eq 0 ]] || fail "only root can reserve hugepages; run: sudo $0 $count"
[[ -w $pages_dir/nr_hugepages ]] ||
  fail "$pages_dir/nr_hugepages is read-only here (a container?); reserve them on the host," \
    "or run penstock-data with --no-huge"

echo 1 2>/dev/null >/proc/sys/vm/compact_memory || true  # joins free memory into whole pages
echo "$count" >"$pages_dir/nr_hugepages"
after=$(<"$pages_dir/nr_hugepages")
if [[ $after -lt $count ]]; then
  echo "hugepages: raised the reservation from $before to $after pages of $page_mib MiB"
  fail "the kernel found only $after of $count pages: memory is in pieces; start the machine with" \
    "hugepages=$count on the kernel command line, or run penstock-data with --no-huge"
fi
echo "hugepages: raised the reservation from $before to $after pages of $page_mib MiB"
