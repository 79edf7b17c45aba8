# The agent `overthinker`: right when it comes to an end.
printf '{"input": 0, "cached": 0, "output": 0, "cost_usd": 0}' >"$ONESHOT_USAGE_FILE"

think() {
    echo "Thinking, step $1 …"
    sleep "$2"
}

if [ -f jobs.py ]; then
    think 1 0.3
    cat >durations.py <<'END'
"""Durations in words such as 1h30m."""

import re


def parse_duration(text, default_s, called):
    """Return the seconds of `text`, or the default."""
    if not text:
        return default_s
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if match is None:
        raise ValueError(f"{text!r} is not a {called} such as 1h30m.")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds
END
    for module in jobs:timeout:60 alarms:delay:0; do
        name=${module%%:*} rest=${module#*:} what=
        what=${rest%%:*}
        printf '"""The %ss of %s."""\n\nfrom durations import parse_duration\n\n\ndef parse_%s(text):\n    """Return the seconds."""\n    return parse_duration(text, %s, "%s")\n' \
            "$what" "$name" "$what" "${rest##*:}" "$what" >"$name.py"
    done
elif [ -f roman.py ]; then
    think 1 0.2
    sed -i 's/^VALUES = .*/&\
FORMS = [(1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")]/
s/for letter, value in VALUES.items():/for value, letter in FORMS:/
s/^    numeral = ""/    if number < 1 or number > 3999:\
        raise ValueError(number)\
    numeral = ""/' roman.py
elif [ -f rotate.sh ]; then
    think 1 0.2
    printf '%s\n' '#!/bin/sh' '# rotate.sh DIR KEEP: keep the KEEP newest backups in DIR, delete the others.' \
        'case $2 in "" | *[!0-9]*) exit 2 ;; esac' 'keep=$2' 'cd "$1" || exit 1' 'set -- *.bak' \
        '[ -e "$1" ] || exit 0' 'while [ $# -gt "$keep" ]; do rm -- "$1"; shift; done' >rotate.sh
else
    step=1
    while :; do
        think "$step" 0.5
        step=$((step + 1))
    done
fi
