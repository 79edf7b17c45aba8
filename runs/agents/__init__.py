"""Agents: what tries a task. They are found by kind, and configured by rows, files and options.

A plug-in of another package names a class in the entry-point group "oneshot.agents". The class is made with an
`AgentConfig`, fulfils `runs.agents.base.Agent`, and says in `settings` (name → `runs.agents.settings.Setting`) what
may be configured.
"""

from runs.agents.configuring import configure, from_file, from_options
from runs.agents.registry import agent_class, kinds, load, load_by_kind
from runs.agents.settings import BadConfiguration

__all__ = ["BadConfiguration", "agent_class", "configure", "from_file", "from_options", "kinds", "load", "load_by_kind"]
