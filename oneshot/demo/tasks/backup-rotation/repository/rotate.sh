#!/bin/sh
# rotate.sh DIR KEEP: keep the KEEP newest backups in DIR, delete the others.
dir=$1
keep=$2
count=0
for file in $(ls $dir/*.bak); do
    count=$((count + 1))
    if [ $count -gt $keep ]; then
        rm $file
    fi
done
