"""The API under /api/v1: what pages do, for programs, by the same querysets and the same actions.

Nothing here is imported before the first request to it (oneshot/api/door.py), since its framework takes a while.
"""
