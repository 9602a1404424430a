#!/usr/bin/env bash
# Installs what is needed besides Go: setup.sh PURPOSE, with PURPOSE build, run, test or conformance.
# Says what it installs; says nothing when all is there.
set -eu

purpose=${1:-run}
PATH=$PATH:/usr/sbin:/sbin # where iptables is, and users' shells don't look
want=()
need() { # need PACKAGE TEST...: package is wanted unless the test succeeds
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || want+=("$package")
}
static() { [ -x "$1" ] && ! ldd "$1"; }
header() { echo "#include <$1>" | cc -E -x c - ; }

command -v go >/dev/null || { echo "setup: Go is missing; install it from https://go.dev/dl/ (version $(sed -n 's/^go //p' go.mod) or later)" >&2; exit 1; }
need gcc command -v cc
need libc6-dev header stdlib.h
need pkg-config command -v pkg-config
need libseccomp-dev header seccomp.h
[ "$purpose" = build ] || need iptables command -v iptables-restore
need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
[ "$purpose" != test ] || need git command -v git
[ "$purpose" != conformance ] || need busybox-static static /usr/bin/busybox # of the suite's images one is made of it

[ ${#want[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "setup: missing: ${want[*]}; run this as root, or install them: sudo apt-get install ${want[*]}" >&2
  exit 1
fi
if ! command -v apt-get >/dev/null; then
  echo "setup: missing (by their Debian names): ${want[*]}; there is no apt-get here, so please install them" >&2
  exit 1
fi
echo "setup: installing ${want[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
lists() { apt-get update -qq || echo "setup: not all package lists could be fetched"; }
packages() { apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "${want[@]}"; }
if ! { lists && packages; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "setup: apt-get failed (above); what is missing: ${want[*]}" >&2
  exit 1
fi
