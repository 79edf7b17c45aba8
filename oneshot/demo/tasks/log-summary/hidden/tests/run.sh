#!/bin/sh
# Runs every case on a small log, and writes JUnit XML to $ONESHOT_JUNIT.
cases=''
log=$(mktemp)
cat >"$log" <<'LOG'
2026-11-20T13:59:59 ERROR disk full
2026-11-20T14:02:27 INFO started
2026-11-20T14:02:28 ERROR disk full
  at disk.c line 12
2026-11-20T14:03:00 INFO ready
LOG

check() {
    if [ "$3" = "$2" ]; then
        cases="$cases<testcase classname=\"summary\" name=\"$1\"/>"
    else
        cases="$cases<testcase classname=\"summary\" name=\"$1\"><failure message=\"not as expected\"/></testcase>"
    fi
}

check counts_by_level 'ERROR 2|INFO 2|' "$(sh summary.sh "$log" | tr '\n' '|')"
check counts_since_a_time 'ERROR 1|INFO 2|' "$(sh summary.sh "$log" 2026-11-20T14:00 | tr '\n' '|')"
check counts_nothing_after_the_end '' "$(sh summary.sh "$log" 2027 | tr '\n' '|')"
: >"$log"
sh summary.sh "$log" >/dev/null
check reads_an_empty_log 0 $?

echo "<testsuite name=\"summary\">$cases</testsuite>" >"$ONESHOT_JUNIT"
case $cases in *failure*) exit 1 ;; esac
