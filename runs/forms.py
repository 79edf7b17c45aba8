"""The form that starts runs of a task."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms
from django.db.models import Exists, OuterRef

from runs import agents, budgets, sandboxes
from runs.errors import AgentError
from runs.models import REFERENCE_KINDS, AgentConfig, Run
from tasks.models import Task, TaskVersion

MOST_ATTEMPTS = 50
MOST_KNOWN = 40
NEW = "new:"


class StartForm(forms.Form):
    """Which agent tries a version how often, and in what sandbox."""

    agent = forms.ChoiceField(label="Agent")
    command = forms.CharField(
        label="Command",
        required=False,
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "class": "mono"}),
        help_text="One line for the shell, run in the repository inside the sandbox.",
    )
    model = forms.CharField(label="Model", required=False, max_length=200)
    effort = forms.CharField(label="Reasoning effort", required=False, max_length=20)
    max_tokens = forms.IntegerField(
        label="Budget in tokens",
        required=False,
        min_value=1,
        max_value=budgets.MAX_TOKENS,
        help_text="Uncached input and output of each attempt.",
    )
    max_cost_usd = forms.DecimalField(
        label="Budget in US dollars",
        required=False,
        min_value=Decimal("0.000001"),
        max_value=budgets.MAX_USD,
        help_text="Of each attempt; needs a model with a known price.",
    )
    attempts = forms.IntegerField(label="Attempts", min_value=1, max_value=MOST_ATTEMPTS, initial=1)
    sandbox = forms.ChoiceField(label="Sandbox", initial="auto")
    unvalidated = forms.BooleanField(label="Try it all the same", required=False)

    def __init__(self, *args: Any, version: TaskVersion, task: Task, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.version = version
        self.is_valid_version = version.validation == TaskVersion.Validation.VALID
        used = Run.objects.filter(agent=OuterRef("pk"), team=task.team_id)
        known = AgentConfig.objects.filter(Exists(used)).exclude(kind__in=REFERENCE_KINDS)
        self.known = {str(row.pk): row for row in known.order_by("name", "model", "version")[:MOST_KNOWN]}
        tried = [(pk, str(row)) for pk, row in self.known.items()]
        kinds = [(f"{NEW}{kind}", kind) for kind in agents.kinds()]
        choices: list[Any] = [("Tried before", tried)] if tried else []
        self.fields["agent"].choices = [*choices, ("Any agent" if tried else "Agents", kinds)]  # type: ignore[attr-defined]
        self.fields["agent"].initial = tried[0][0] if tried else f"{NEW}codex"
        self.fields["sandbox"].choices = [  # type: ignore[attr-defined]
            ("auto", "automatic"),
            *((name, name) for name in sandboxes.names()),
        ]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.is_valid_version and not cleaned.get("unvalidated"):
            self.add_error("unvalidated", "Nobody knows which tests must pass: validate the version, or tick this box.")
        choice = cleaned.get("agent", "")
        if choice == f"{NEW}command" and not cleaned.get("command", "").strip():
            self.add_error("command", "Write the command that shall try the task.")
        return cleaned

    def configuration(self) -> AgentConfig:
        """Return the configuration that was chosen, made if there is none yet. Raises AgentError."""
        choice = self.cleaned_data["agent"]
        if not choice.startswith(NEW):
            return self.known[str(UUID(choice))]
        kind = choice.removeprefix(NEW)
        known = getattr(agents.agent_class(kind), "settings", {})
        return agents.from_options(
            kind,
            command=self.cleaned_data["command"].strip() if kind == "command" else "",
            model=self.cleaned_data["model"].strip() if kind not in REFERENCE_KINDS else "",
            effort=self.cleaned_data["effort"].strip() if "reasoning_effort" in known else "",
        )

    def limits(self) -> dict[str, Any]:
        """Return the budgets that were asked for."""
        return {name: self.cleaned_data.get(name) for name in ("max_tokens", "max_cost_usd")}

    def refuse(self, error: AgentError) -> None:
        """Show why the agent that was chosen cannot be used."""
        self.add_error("agent", str(error))
