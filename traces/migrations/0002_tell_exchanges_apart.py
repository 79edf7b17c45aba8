from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("traces", "0001_sessions"),
    ]

    operations = [
        migrations.AddField(
            model_name="exchange",
            name="wire_id",
            field=models.CharField(
                blank=True,
                help_text="Its id in the database that it was recorded in, when it was seen on the wire.",
                max_length=100,
            ),
        ),
        migrations.AddField(
            model_name="exchange",
            name="request_digest",
            field=models.CharField(
                blank=True,
                help_text="Of the messages it sent, to find the one that was sent again.",
                max_length=64,
            ),
        ),
    ]
