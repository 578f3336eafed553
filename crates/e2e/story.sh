#!/usr/bin/env bash
# Point-in-time recovery, as TiDB's documentation tells it: a full backup, more changes, a mistaken DELETE, two DROP DATABASEs, and
# everything back. `./dev story` plays it on this machine with captured traffic; on a cluster of one's own, set what stands below.
#
#   story.sh [STEP…]     STEP: backup find before_drop before_delete from_files past_the_drops undo; default: all in this order
set -euo pipefail

: "${PD:?where PD is, http://HOST:PORT}"
: "${DB_HOST:?the server to restore into: its contents of the databases below are dropped}"
: "${DB_PORT:?its port}"
: "${FILES:?a directory of binlog files, as the original drainer writes them}"
: "${BACKUP_TSO:?the TSO of the full backup}"
: "${WORK:=$(mktemp -d)}"
databases=(full_backup_point_recover_1 full_backup_point_recover_2 test234)
table=full_backup_point_recover_1.jan_test_1
# A DELETE that nobody meant ran at 13:57:49.984 in Berlin, and the databases were dropped at 13:57:52.535.
before_delete='2026-11-22 13:57:49 Europe/Berlin'
before_drop='2026-11-22T12:57:52Z'

cat >"$WORK/reparo.toml" <<TOML
[dest-db]
host = "$DB_HOST"
port = $DB_PORT
user = "root"
TOML
pumps=(-from-pump -pd-urls "$PD")
files=(-data-dir "$FILES" -archive-timezone UTC)
into=(-dest-type mysql -config "$WORK/reparo.toml")

run() {
  printf '\n$ %s\n' "$*" >&2
  "$@"
}

mysql() {
  mariadb --no-defaults --host="$DB_HOST" --port="$DB_PORT" --protocol=tcp --user=root --default-character-set=utf8mb4 "$@"
}

clear() {
  local database
  for database in "${databases[@]}" tidb_binlog_reparo; do
    mysql -e "DROP DATABASE IF EXISTS $database"
  done
}

# Somewhere empty, with the backup in it.
full_restore() {
  clear
  mysql <"$WORK/backup.sql"
}

# What `mysqldump --master-data=2` writes of a TiDB: its first lines tell the TSO. The source is not here any more: its state of that
# moment is made of its binlogs.
backup() {
  clear
  run reparo "${pumps[@]}" -stop-tso "$BACKUP_TSO" "${into[@]}"
  {
    echo "-- CHANGE MASTER TO MASTER_LOG_FILE='tidb-binlog', MASTER_LOG_POS=$BACKUP_TSO;"
    mariadb-dump --no-defaults --host="$DB_HOST" --port="$DB_PORT" --protocol=tcp --user=root --skip-tz-utc \
      --databases "${databases[@]}"
  } >"$WORK/backup.sql"
}

# Who deleted what, and when?
find() {
  run reparo activity "${pumps[@]}" -full-backup "$WORK/backup.sql" -by 1s
  run reparo look "${pumps[@]}" -full-backup "$WORK/backup.sql" -table "$table" -dest-type csv >"$WORK/changes.csv"
  grep -m 3 ',delete,' "$WORK/changes.csv"
}

# Plan, rehearse, restore, prove.
before_drop() {
  local range=(-full-backup "$WORK/backup.sql" -stop-datetime "$before_drop")
  full_restore
  run reparo plan "${pumps[@]}" "${range[@]}" "${into[@]}"
  run reparo "${pumps[@]}" "${range[@]}" "${into[@]}"
  run reparo prove "${pumps[@]}" "${range[@]}" "${into[@]}"
}

before_delete() {
  local range=(-full-backup "$WORK/backup.sql" -stop-datetime "$before_delete")
  full_restore
  run reparo "${pumps[@]}" "${range[@]}" "${into[@]}"
  run reparo prove "${pumps[@]}" "${range[@]}" "${into[@]}"
}

# The same from files, without any pump.
from_files() {
  local range=(-full-backup "$WORK/backup.sql" -stop-datetime "$before_delete")
  full_restore
  run reparo "${files[@]}" "${range[@]}" "${into[@]}"
  run reparo prove "${files[@]}" "${range[@]}" "${into[@]}"
}

# On from there, over the DROPs: the databases are gone, and that is proved too.
past_the_drops() {
  run reparo "${files[@]}" -continue "${into[@]}"
  run reparo prove "${files[@]}" -full-backup "$WORK/backup.sql" "${into[@]}"
  run reparo prove "${pumps[@]}" -full-backup "$WORK/backup.sql" "${into[@]}"
}

# Take back only the DELETE, and keep what came beside it. What came after that moment has not happened to this database.
undo() {
  local seen=$(($(date -d "$before_drop" +%s) * 1000 << 18))
  local range=(-start-datetime "$before_delete" -stop-datetime "$before_drop" -seen-tso "$seen" -table "$table")
  before_drop
  run reparo -rollback "${pumps[@]}" "${range[@]}" -where "old.name = 'jan_test_1'" >"$WORK/undo.sql"
  mysql <"$WORK/undo.sql"
}

[ $# -gt 0 ] || set -- backup find before_drop before_delete from_files past_the_drops undo
for step in "$@"; do
  echo "== $step" >&2
  "$step"
done
