"""Errors that say whose fault they are. Only an InfraError is worth another try."""


class Fault(Exception):
    """Something went wrong, and the class says with whom. The message is written for a person."""

    side = ""


class TaskError(Fault):
    """The task is at fault: its set-up fails, its tests cannot be collected, its patch does not apply."""

    side = "task"


class AgentError(Fault):
    """The agent or its configuration is at fault: a missing binary, a wrong option, a refused model."""

    side = "agent"


class InfraError(Fault):
    """This installation is at fault: no engine, no disk, a lost worker. It is tried again."""

    side = "infra"
