#!/bin/sh
# Runs runc for a container whose environment must not come to a disk. Its specification, and that of a command that is
# run in it, come with marks where the environment and the command are to be: they are put in here, in copies that
# are in memory as this script is, and gone when runc has read them.
set -eu
umask 077
for id; do :; done # the last argument
here=${0%/*}/$id
copy=
previous=
left=$#
while [ "$left" -gt 0 ]; do
	arg=$1
	shift
	left=$((left - 1))
	case $previous in
	--bundle)
		copy=$here/config.json
		sed -e "s|$(cat "$here/rootfs")|$arg/rootfs|" -f "$here/marks.sed" "$arg/config.json" >"$copy"
		arg=$here
		;;
	--process)
		copy=$here/process-$$.json
		sed -f "$here/marks.sed" "$arg" >"$copy"
		arg=$copy
		;;
	esac
	previous=$arg
	set -- "$@" "$arg"
done
[ -n "$copy" ] || exec runc "$@"
status=0
runc "$@" || status=$?
rm -f "$copy"
exit "$status"
