"""The form of a board. Its messages say what to change."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from benchmarks.models import Board
from oneshot.accounts.models import Role, Team, Visibility
from tasks.models import Task

NAMED_AT_MOST = 3


class BoardForm(forms.Form):
    """Title, team, who may read it, and its tasks: single ones, and all that carry a tag now."""

    title = forms.CharField(label="Title", max_length=200)
    description = forms.CharField(
        label="Description",
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="One line below the title; may stay empty.",
    )
    team = forms.ModelChoiceField(Team.objects.none(), label="Team", empty_label=None)
    visibility = forms.ChoiceField(label="Readable by", choices=Visibility.choices, initial=Visibility.PRIVATE)
    tags = forms.MultipleChoiceField(label="Tags", required=False)
    tasks = forms.ModelMultipleChoiceField(Task.objects.none(), label="Tasks", required=False, to_field_name="slug")

    def __init__(self, *args: Any, user: Any, board: Board | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.choosable = Task.objects.visible_to(user).filter(current_version__isnull=False).order_by("slug")
        self.options = list(self.choosable.values("slug", "title", "tags", "visibility", "team__name"))
        self.tag_counts = sorted(Counter(str(tag) for option in self.options for tag in option["tags"]).items())
        self._field("team", forms.ModelChoiceField).queryset = Team.objects.of(user, Role.MAINTAINER).order_by("name")
        self._field("tasks", forms.ModelMultipleChoiceField).queryset = self.choosable
        self._field("tags", forms.MultipleChoiceField).choices = [(tag, tag) for tag, _ in self.tag_counts]
        # Tasks of the board that this user may not read are neither shown nor taken off it.
        self.unseen = list(board.tasks.exclude(pk__in=self.choosable)) if board else []
        self.chosen_slugs = set(board.tasks.values_list("slug", flat=True)) if board else set()
        if board:
            self.initial = {
                "title": board.title,
                "description": board.description,
                "team": board.team_id,
                "visibility": board.visibility,
            }
        self.chosen_tags: set[str] = set()
        if self.is_bound and isinstance(self.data, QueryDict):
            self.chosen_slugs, self.chosen_tags = set(self.data.getlist("tasks")), set(self.data.getlist("tags"))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "tasks" not in cleaned or "tags" not in cleaned:
            return cleaned
        tagged = [option["slug"] for option in self.options if set(option["tags"]) & set(cleaned["tags"])]
        slugs = {task.slug for task in cleaned["tasks"]} | set(tagged)
        if not slugs:
            raise ValidationError("A board needs at least one task. Tick tasks or a tag.")
        hidden = [o["slug"] for o in self.options if o["slug"] in slugs and o["visibility"] != Visibility.PUBLIC]
        if cleaned.get("visibility") == Visibility.PUBLIC and hidden:
            more = f" and {len(hidden) - NAMED_AT_MOST} more" if len(hidden) > NAMED_AT_MOST else ""
            names = ", ".join(hidden[:NAMED_AT_MOST]) + more
            raise ValidationError(
                f"Everyone may read this board, but not these of its tasks: {names}. "
                "Make the tasks public, leave them out, or keep the board to the team."
            )
        self.chosen_tasks = [*Task.objects.filter(slug__in=slugs), *self.unseen]
        return cleaned

    def chosen(self) -> dict[str, Any]:
        """Return what was chosen, as `create_board` and `update_board` take it."""
        return {
            **{name: self.cleaned_data[name] for name in ("title", "description", "team", "visibility")},
            "tasks": self.chosen_tasks,
        }

    def _field(self, name: str, kind: type[Any]) -> Any:
        field = self.fields[name]
        assert isinstance(field, kind)  # noqa: S101
        return field
