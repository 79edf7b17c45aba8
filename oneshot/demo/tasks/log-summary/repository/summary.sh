#!/bin/sh
# summary.sh FILE: how many lines a log has.
awk 'END { print NR }' "$1"
