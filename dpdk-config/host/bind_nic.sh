#!/usr/bin/env bash
# Hands NICs to user space (vfio-pci), where DPDK drives them, and back to Linux.
set -euo pipefail

readonly name=bind_nic.sh
readonly devices_dir=/sys/bus/pci/devices

usage() {
  cat <<'EOF'
usage: bind_nic.sh [--dry-run] [--no-iommu] NIC...
       bind_nic.sh [--dry-run] --release NIC...

Binds each NIC to vfio-pci, so that penstock-data can open it by its PCI address.
NIC is a PCI address (0000:3b:00.0 or 3b:00.0) or the name of its interface.
Changes nothing for a NIC that is bound already, prints what it changed. A NIC that
carries a route is refused: binding it would cut the machine off.

  --release    give the NICs back to their Linux drivers
  --no-iommu   allow vfio without an IOMMU: the NIC can then write to all memory
  --dry-run    say what would be done, change nothing
  --help       this text

NVIDIA/Mellanox NICs (mlx4, mlx5) are shared with Linux and are never bound.
EOF
}

fail() {
  echo "$name: $*" >&2
  exit 1
}

# Prints the full PCI address of $1, an address or an interface name.
pci_address() {
  local nic=$1
  if [[ -e /sys/class/net/$nic ]]; then
    [[ -e /sys/class/net/$nic/device ]] || fail "$nic is not a PCI NIC but a virtual interface"
    # A virtio NIC hangs one level below its PCI function.
    local path
    path=$(readlink -f "/sys/class/net/$nic/device")
    [[ -e $devices_dir/${path##*/} ]] || path=${path%/*}
    nic=${path##*/}
  fi
  [[ $nic =~ ^[0-9a-fA-F]{2}: ]] && nic=0000:$nic
  [[ -e $devices_dir/$nic ]] ||
    fail "$1 is neither a PCI device nor an interface here; see dpdk-devbind.py --status-dev net"
  local class
  class=$(<"$devices_dir/$nic/class")
  [[ $class == 0x02* ]] || fail "$1 is not a network device (PCI class $class)"
  echo "$nic"
}

# Prints the name of the driver that holds PCI address $1, or "none".
driver_of() {
  if [[ -e $devices_dir/$1/driver ]]; then
    basename "$(readlink -f "$devices_dir/$1/driver")"
  else
    echo none
  fi
}

# Fails if an interface of PCI address $1 has a route.
refuse_routed() {
  local interface
  while read -r interface; do
    if [[ -n $(ip route show dev "$interface"; ip -6 route show default dev "$interface") ]]; then
      fail "$1 is interface $interface and carries a route; remove its addresses first:" \
        "ip addr flush dev $interface"
    fi
  done < <(find "$devices_dir/$1/" -maxdepth 3 -path '*/net/*' -not -path '*/net/*/*' -printf '%f\n')
}

run() {
  if $dry_run; then
    echo "would run: $*"
  else
    "$@"
  fi
}

# Loads vfio-pci and checks that something guards memory from the NIC.
prepare_vfio() {
  [[ -e /sys/bus/pci/drivers/vfio-pci ]] || run modprobe vfio-pci ||
    fail "the kernel module vfio-pci cannot be loaded; install the kernel's own modules package"
  if [[ -z $(ls /sys/kernel/iommu_groups 2>/dev/null) ]]; then
    $no_iommu || fail "this machine has no IOMMU in use; turn it on (kernel command line" \
      "intel_iommu=on or amd_iommu=on), or give --no-iommu"
    local -r switch=/sys/module/vfio/parameters/enable_unsafe_noiommu_mode
    if [[ $(cat "$switch" 2>/dev/null) != Y ]]; then
      $dry_run || echo Y >"$switch"
      echo "vfio: $($dry_run && echo 'would allow' || echo allowed) use without an IOMMU"
    fi
  fi
}

bind() {
  local -r address=$1 driver=$(driver_of "$1")
  case $driver in
    vfio-pci) echo "$address: bound to vfio-pci already, nothing to do"; return ;;
    mlx4_core | mlx5_core)
      echo "$address: $driver is shared between DPDK and Linux, nothing to bind"
      return
      ;;
  esac
  refuse_routed "$address"
  prepare_vfio
  run dpdk-devbind.py --bind=vfio-pci "$address"
  $dry_run || [[ $(driver_of "$address") == vfio-pci ]] ||
    fail "$address did not go to vfio-pci and is held by $(driver_of "$address"); see dmesg"
  $dry_run || echo "$address: $driver -> vfio-pci"
}

release() {
  local -r address=$1 driver=$(driver_of "$1")
  if [[ $driver != vfio-pci ]]; then
    echo "$address: held by $driver, not by vfio-pci, nothing to do"
    return
  fi
  if $dry_run; then
    echo "would give $address back to its Linux driver"
    return
  fi
  dpdk-devbind.py --unbind "$address"
  # dpdk-devbind.py left "vfio-pci" or "(null)" here, which keeps other drivers away.
  echo >"$devices_dir/$address/driver_override"
  echo "$address" >/sys/bus/pci/drivers_probe
  echo "$address: vfio-pci -> $(driver_of "$address")"
}

action=bind
dry_run=false
no_iommu=false
nics=()
for argument in "$@"; do
  case $argument in
    --dry-run) dry_run=true ;;
    --no-iommu) no_iommu=true ;;
    --release) action=release ;;
    --help) usage; exit 0 ;;
    -*) fail "unknown option $argument; see --help" ;;
    *) nics+=("$argument") ;;
  esac
done

[[ ${#nics[@]} -gt 0 ]] || fail "no NIC named; see --help and dpdk-devbind.py --status-dev net"
command -v dpdk-devbind.py >/dev/null || fail "dpdk-devbind.py is missing; run tools/setup"
$dry_run || [[ $EUID -eq 0 ]] || fail "only root can bind NICs; run: sudo $0 $*"
for nic in "${nics[@]}"; do
  address=$(pci_address "$nic")
  "$action" "$address"
done
