#!/bin/sh
# rotate.sh DIR KEEP: keep the KEEP newest backups in DIR, delete the others.
dir=$1
keep=$2
case $keep in
'' | *[!0-9]*)
    echo "rotate.sh: KEEP is a number, not '$keep'" >&2
    exit 2
    ;;
esac
set -- "$dir"/*.bak
[ -e "$1" ] || exit 0
# The dates lead the names, so the shell's order is from old to new.
while [ $# -gt "$keep" ]; do
    rm -- "$1"
    shift
done
