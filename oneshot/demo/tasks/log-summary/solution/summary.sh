#!/bin/sh
# summary.sh FILE [SINCE]: how many lines of each level a log has, from the time SINCE on.
awk -v since="${2:-}" '
    $2 ~ /^[A-Z]+$/ && $1 >= since { count[$2]++ }
    END { for (level in count) print level, count[level] }
' "$1" | LC_ALL=C sort
