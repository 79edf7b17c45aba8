# The agent `hasty`: the first idea, now and then the second.
printf '{"input": 0, "cached": 0, "output": 0, "cost_usd": 0}' >"$ONESHOT_USAGE_FILE"
dice=$(od -An -N1 -tu1 /dev/urandom | tr -d ' ')
looks_twice() { [ $((dice % 2)) -eq 0 ]; }

if [ -f summary.sh ]; then
    echo 'Count the second words.'
    if looks_twice; then
        pattern='$2 ~ /^[A-Z]+$/ \&\& $1 >= since'
    else
        pattern='$1 >= since'
    fi
    cat >summary.sh <<'END'
#!/bin/sh
# summary.sh FILE [SINCE]: how many lines of each level a log has.
awk -v since="$2" 'PATTERN { count[$2]++ } END { for (level in count) print level, count[level] }' "$1" | LC_ALL=C sort
END
    sed -i "s/PATTERN/$(printf '%s' "$pattern" | sed 's,/,\\/,g')/" summary.sh
elif [ -f invoice.py ]; then
    echo 'Decimal instead of float.'
    sed -i -e 's/^def total/from decimal import ROUND_HALF_UP, Decimal\n\n\ndef total/' -e 's/0\.0$/Decimal(0)/' \
        -e 's/float(price)/Decimal(price)/' invoice.py
    if looks_twice; then rounding=', rounding=ROUND_HALF_UP'; else rounding=''; fi
    sed -i "s|return result .*|return (result * (100 + Decimal(tax_percent)) / 100).quantize(Decimal(\"0.01\")$rounding)|" invoice.py
elif [ -f roman.py ]; then
    echo 'Replace IIII by IV.'
    sed -i 's/^    return numeral$/    return numeral.replace("VIIII", "IX").replace("IIII", "IV")/' roman.py
elif [ -f slugs.py ]; then
    echo 'Cut it off.'
    sed -i -e 's/slugify(text)/slugify(text, longest=None)/' -e 's/text.lower()))$/text.lower()))[:longest]/' slugs.py
else
    echo 'Looks fine already.'
fi
