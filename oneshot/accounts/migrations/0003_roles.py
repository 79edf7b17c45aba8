"""Four roles instead of two. Members could run and publish, so they become maintainers."""

from django.db import migrations, models


def name_members_maintainers(apps, schema_editor):
    apps.get_model("accounts", "Membership").objects.filter(role="member").update(role="maintainer")


def name_others_members(apps, schema_editor):
    apps.get_model("accounts", "Membership").objects.exclude(role="owner").update(role="member")


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_failed_log_ins")]

    operations = [
        migrations.AlterField(
            "membership",
            "role",
            models.CharField(
                choices=[
                    ("viewer", "Viewer"),
                    ("curator", "Curator"),
                    ("maintainer", "Maintainer"),
                    ("owner", "Owner"),
                ],
                default="viewer",
                max_length=10,
            ),
        ),
        migrations.RunPython(name_members_maintainers, name_others_members),
    ]
