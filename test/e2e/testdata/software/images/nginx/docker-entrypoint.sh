#!/bin/sh
# As the public image's: what is in /docker-entrypoint.d runs before nginx does.
set -e
if [ "$1" = nginx ] && [ -d /docker-entrypoint.d ]; then
	for script in /docker-entrypoint.d/*.sh; do
		[ ! -x "$script" ] || "$script"
	done
fi
exec "$@"
