#!/bin/sh
# As the public image's: the data directory is the server's own; an empty one becomes a database, by POSTGRES_USER,
# POSTGRES_PASSWORD (or POSTGRES_PASSWORD_FILE) and POSTGRES_DB, and by what is in /docker-entrypoint-initdb.d.
set -e
if [ "${1#-}" != "$1" ]; then
	set -- postgres "$@"
fi
if [ "$1" != postgres ]; then
	exec "$@"
fi
if [ "$(id -u)" = 0 ]; then
	mkdir -p "$PGDATA" /var/run/postgresql
	chown -R 999:999 "$PGDATA" /var/run/postgresql
	chmod 700 "$PGDATA"
	exec /usr/bin/setpriv --reuid=999 --regid=999 --clear-groups -- "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	if [ -n "$POSTGRES_PASSWORD_FILE" ]; then
		POSTGRES_PASSWORD="$(cat "$POSTGRES_PASSWORD_FILE")"
	fi
	if [ -z "$POSTGRES_PASSWORD" ]; then
		echo "Error: Database is uninitialized and superuser password is not specified." >&2
		exit 1
	fi
	: "${POSTGRES_USER:=postgres}" "${POSTGRES_DB:=$POSTGRES_USER}"
	printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
	initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --pwfile=/tmp/password --no-sync
	rm /tmp/password
	printf "listen_addresses = '*'\n" >>"$PGDATA/postgresql.conf"
	printf 'host all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
	pg_ctl --pgdata="$PGDATA" -o "-c listen_addresses=''" --wait start
	if [ "$POSTGRES_DB" != postgres ]; then
		createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
	fi
	for script in /docker-entrypoint-initdb.d/*.sql; do
		[ ! -f "$script" ] || psql -v ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --file="$script"
	done
	pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop
fi
exec "$@"
