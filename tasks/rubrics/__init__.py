"""What helps to write a rubric: lint, templates, and the files it travels in."""
