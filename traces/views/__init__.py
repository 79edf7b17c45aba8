"""Pages of sessions: the list, the viewer, raw exchanges, exports."""
