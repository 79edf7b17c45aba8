"""`python -m oneshot` is the same as `oneshot`."""

from oneshot.cli import main

main()
