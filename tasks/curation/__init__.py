"""How a draft becomes a task that deserves to be published, and who decided what."""
