"""The OneShot project: settings, URLs, accounts, content store, and the commands that run it all."""

__version__ = "0.1.0"
