"""Template tags of the pages of sessions."""
