"""docs/first-task.md is true: its example works as written, and it names every field."""

import re
import subprocess

import pytest
from django.conf import settings

from tasks.actions import import_tasks
from tasks.environment import FIELDS
from tasks.formats.overrides import KNOWN
from tasks.models import Task
from tests.builders import make_team

PAGE = (settings.BASE_DIR / "docs" / "first-task.md").read_text()


@pytest.mark.django_db
def test_the_example_makes_a_task_with_a_hidden_test(tmp_path):
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    script = "\n".join(blocks[:2]).replace("oneshot import_tasks fix-the-adder", "")
    subprocess.run(["sh", "-eu"], input=script.encode(), cwd=tmp_path, check=True, timeout=60)
    (result,) = import_tasks([tmp_path / "fix-the-adder"], team=make_team())
    assert (result.result, result.problems, result.notes) == ("new", [], [])
    version = Task.objects.get(slug="fix-the-adder").current_version
    assert version.repo["git_url"] == str(tmp_path / "widget")
    assert list(version.hidden_test_files()) == ["test_adder.py"]


@pytest.mark.parametrize("name", [*FIELDS, *KNOWN])
def test_every_field_is_described(name):
    assert f"`{name}`" in PAGE
