#!/usr/bin/env bash
# Installs what the tests and the demonstration need and the machine lacks. Debian and Ubuntu.
set -euo pipefail

# program:package
needs=(containerd:containerd runc:runc iptables:iptables conntrack:conntrack busybox:busybox-static git:git ip:iproute2)

missing=()
for need in "${needs[@]}"; do
	PATH="$PATH:/usr/sbin:/sbin" command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "setup: this machine lacks ${missing[*]} and has no apt-get: install them by hand" >&2
	exit 1
fi
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
echo "setup: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
