import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from oneshot.accounts.models import Visibility
from tasks.models import Task
from tests.builders import make_public_task, make_task

pytestmark = pytest.mark.django_db


def run(*arguments):
    """Return (exit status, standard output)."""
    out, status = StringIO(), 0
    try:
        call_command("export_tasks", *map(str, arguments), stdout=out, stderr=StringIO())
    except SystemExit as end:
        status = end.code
    return status, out.getvalue()


def test_json_is_one_document_with_the_promised_keys(tmp_path):
    good, held = make_task(), make_task(version={"sensitivity": "sensitive"})
    status, text = run(good.slug, held.slug, "--to", tmp_path / "out", "--json")
    assert status == 2
    document = json.loads(text)
    assert document["to"] == str(tmp_path / "out")
    first, second = document["tasks"]
    assert set(first) == {"slug", "version", "path", "result", "problems", "notes"}
    assert (first["slug"], first["version"], first["result"]) == (good.slug, 1, "written")
    assert (second["result"], second["path"]) == ("refused", None)


def test_without_names_all_go_save_the_retired(tmp_path):
    kept, retired = make_task(), make_task(state=Task.State.RETIRED)
    status, text = run("--to", tmp_path / "out")
    assert status == 0
    assert kept.slug in text
    assert retired.slug not in text
    assert text.endswith("1 task: 1 written.\n")


def test_public_only_leaves_out_what_not_everyone_may_read(tmp_path):
    public, private = make_public_task(), make_task(visibility=Visibility.PRIVATE)
    _, text = run("--to", tmp_path / "out", "--public-only")
    assert public.slug in text
    assert private.slug not in text
    with pytest.raises(CommandError, match="no public task"):
        run(private.slug, "--to", tmp_path / "out", "--public-only")


def test_an_unknown_name_and_a_file_in_the_way_are_refused_first(tmp_path):
    with pytest.raises(CommandError, match="no task 'nowhere'"):
        run("nowhere", "--to", tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(CommandError, match="is no folder"):
        run("--to", tmp_path / "file")
