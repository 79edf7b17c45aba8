"""`oneshot codex` and `oneshot claude`: the agent as the user knows it, recorded and with the task tools.

All that is needed is given to that one process, by its environment and by options put before the user's own; no file
of the user is written. Standard library only, so that the agent starts at once.
"""
