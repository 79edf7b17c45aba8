# The agent `rulebook`: one rule per kind of trouble.
set -e
printf '{"input": 0, "cached": 0, "output": 0, "cost_usd": 0}' >"$ONESHOT_USAGE_FILE"

if [ -f roman.py ]; then
    echo 'Rule: put the subtractive forms into the table, and guard the range.'
    sed -i 's/^VALUES = .*/&\
FORMS = {"M": 1000, "CM": 900, "D": 500, "CD": 400, "C": 100, "XC": 90, "L": 50, "XL": 40, "X": 10, "IX": 9, "V": 5, "IV": 4, "I": 1}/
s/for letter, value in VALUES.items():/for letter, value in FORMS.items():/
s/^    numeral = ""/    if not 1 <= number <= 3999:\
        raise ValueError("only 1 to 3999 have a numeral")\
    numeral = ""/' roman.py
elif [ -f slugs.py ]; then
    echo 'Rule: drop words from the end until it fits.'
    cat >slugs.py <<'END'
"""Slugs for addresses."""

import re


def slugify(text, *, longest=None):
    """Return `text` in lower case, with hyphens between words, at most `longest` characters."""
    if longest is not None and longest < 1:
        raise ValueError("longest must be at least 1")
    words = re.findall(r"[a-z0-9]+", text.lower())
    if longest is not None:
        while len(words) > 1 and len("-".join(words)) > longest:
            words.pop()
    return "-".join(words)[:longest]
END
elif [ -f invoice.py ]; then
    echo 'Rule: money is decimal.'
    cat >invoice.py <<'END'
"""Totals of invoices."""

from decimal import ROUND_HALF_UP, Decimal


def total(lines, tax_percent=0):
    """Return the total of lines (name, price as text, quantity), with tax."""
    net = sum((Decimal(price) * quantity for _, price, quantity in lines), Decimal("0"))
    gross = net * (Decimal(100) + Decimal(tax_percent)) / Decimal(100)
    return gross.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
END
elif [ -f rotate.sh ]; then
    echo 'Rule: quote everything, and let the shell sort.'
    cat >rotate.sh <<'END'
#!/bin/sh
# rotate.sh DIR KEEP: keep the KEEP newest backups in DIR, delete the others.
keep=$2
case "$keep" in
'' | *[!0-9]*) exit 2 ;;
esac
set -- "$1"/*.bak
[ -e "$1" ] || exit 0
while [ "$#" -gt "$keep" ]; do
    rm -- "$1"
    shift
done
END
elif [ -f jobs.py ]; then
    # Its rule for duplicates forgets that each copy names itself in its errors.
    echo 'Rule: move the copy out, import it twice.'
    sed -e 's/parse_timeout(text)/parse_duration(text, default_s=60)/' -e 's/return DEFAULT_S/return default_s/' \
        -e '/^DEFAULT_S/d' jobs.py >durations.py
    for module in jobs:timeout:60 alarms:delay:0; do
        name=${module%%:*} rest=${module#*:}
        printf 'from durations import parse_duration\n\n\ndef parse_%s(text):\n    return parse_duration(text, default_s=%s)\n' \
            "${rest%%:*}" "${rest##*:}" >"$name.py"
    done
else
    echo 'No rule fits. Nothing was changed.'
fi
