#!/usr/bin/env bash
# Runs a command and fails when it left something of headway's on this machine: a mount, a namespace, a process, a link, a
# rule, a control group, a file. What was there before is not its doing. Runs as root.
set -uo pipefail

report() { # what, lines
	[ -z "$2" ] || sed "s|^|$1: |" <<<"$2"
}

list() {
	own='headway|/hw-?[0-9]'
	report mounts "$(grep -E "$own" /proc/self/mountinfo | cut -d' ' -f5)"
	report "network namespaces" "$(ip netns list 2>/dev/null | grep -E "$own")"
	report links "$(ip -o link 2>/dev/null | grep -E ': (headway|hw)' | cut -d: -f2)"
	report routes "$(ip route show table all 2>/dev/null | grep -E 'headway')"
	for save in iptables-nft-save iptables-legacy-save; do
		command -v "$save" >/dev/null && report "$save rules" "$("$save" 2>/dev/null | grep HEADWAY)"
	done
	report processes "$(pgrep -a -f "containerd-shim.*($own)|containerd .*($own)|headway (server|node|up)" | grep -v "$$")"
	report "control groups" "$(find /sys/fs/cgroup -maxdepth 3 -type d -name 'headway*' 2>/dev/null)"
	report files "$(find /tmp /run -maxdepth 2 \( -name 'headway*' -o -name 'hw[0-9]*' -o -name 'hw-*' -o -name 'containerd-mount*' \) -not -name 'headway-go*' 2>/dev/null)"
}

before=$(list | sort)
"$@" || exit
left=$(comm -13 <(printf '%s\n' "$before") <(list | sort))
[ -n "$left" ] || exit 0
printf 'left behind:\n%s\n' "$left" >&2
exit 1
