"""Adds what judges said to cells and tallies. Records of tallies grow, so those that exist are written anew."""

import math
import struct

from django.db import migrations, models

OLD, NEW = struct.Struct("<16s6I3d"), struct.Struct("<16s9I4d")


def grow(apps, schema_editor):
    tallies = apps.get_model("benchmarks", "Tally").objects
    for tally in tallies.exclude(packed=b"").iterator():
        records = OLD.iter_unpack(bytes(tally.packed))
        tally.packed = b"".join(
            NEW.pack(agent, *rest[:6], 0, 0, 0, *rest[6:], math.nan) for agent, *rest in records
        )
        tally.save(update_fields=["packed"])


def shrink(apps, schema_editor):
    tallies = apps.get_model("benchmarks", "Tally").objects
    for tally in tallies.exclude(packed=b"").iterator():
        records = NEW.iter_unpack(bytes(tally.packed))
        tally.packed = b"".join(OLD.pack(agent, *rest[:6], *rest[9:12]) for agent, *rest in records)
        tally.save(update_fields=["packed"])


class Migration(migrations.Migration):
    dependencies = [("benchmarks", "0003_tally_cells_per_version")]

    operations = [
        migrations.AddField("cell", "judged", models.PositiveIntegerField(default=0)),
        migrations.AddField("cell", "scored", models.PositiveIntegerField(default=0)),
        migrations.AddField("cell", "calibrated", models.PositiveIntegerField(default=0)),
        migrations.AddField("cell", "score_sum", models.FloatField(blank=True, null=True)),
        migrations.RunPython(grow, shrink),
    ]
