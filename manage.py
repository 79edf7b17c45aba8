#!/usr/bin/env python
"""Django's command line for OneShot; `oneshot …` is the same thing once installed."""

from oneshot.cli import main

if __name__ == "__main__":
    main()
