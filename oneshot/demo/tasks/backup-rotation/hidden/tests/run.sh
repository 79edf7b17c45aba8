#!/bin/sh
# Runs every case in a scratch directory, and writes JUnit XML to $ONESHOT_JUNIT.
script=$PWD/rotate.sh
cases=''

check() {
    if [ "$3" = "$2" ]; then
        cases="$cases<testcase classname=\"rotate\" name=\"$1\"/>"
    else
        cases="$cases<testcase classname=\"rotate\" name=\"$1\"><failure message=\"not as expected\"/></testcase>"
    fi
}

fresh() {
    scratch=$(mktemp -d)
    for name in "$@"; do : >"$scratch/$name"; done
}

listing() { (cd "$scratch" && ls | tr '\n' '|'); }

fresh 2026-01-01.bak 2026-01-02.bak 2026-01-03.bak
sh "$script" "$scratch" 2 2>/dev/null
check keeps_the_newest '2026-01-02.bak|2026-01-03.bak|' "$(listing)"

fresh '2026-01-01 db.bak' '2026-01-02 db.bak'
sh "$script" "$scratch" 1 2>/dev/null
check names_with_spaces '2026-01-02 db.bak|' "$(listing)"

fresh 2026-01-01.bak notes.txt
sh "$script" "$scratch" 5 2>/dev/null
check few_files_stay '2026-01-01.bak|notes.txt|' "$(listing)"

fresh 2026-01-01.bak notes.txt
sh "$script" "$scratch" 0 2>/dev/null
check other_files_stay 'notes.txt|' "$(listing)"

fresh 2026-01-01.bak
sh "$script" "$scratch" many 2>/dev/null
check refuses_a_word "2 2026-01-01.bak|" "$? $(listing)"

echo "<testsuite name=\"rotate\">$cases</testsuite>" >"$ONESHOT_JUNIT"
case $cases in *failure*) exit 1 ;; esac
