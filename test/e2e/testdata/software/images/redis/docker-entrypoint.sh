#!/bin/sh
# As the public image's: options alone are the server's; root owns nothing of the data and does not serve.
set -e
if [ "${1#-}" != "$1" ] || [ "${1%.conf}" != "$1" ]; then
	set -- redis-server "$@"
fi
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
	chown -R 999:999 .
	exec /usr/bin/setpriv --reuid=999 --regid=999 --clear-groups -- "$0" "$@"
fi
if [ "$1" = redis-server ]; then
	# The public image is built without the protected mode.
	set -- "$@" --protected-mode no
fi
exec "$@"
