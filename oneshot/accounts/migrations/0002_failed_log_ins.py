
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_first'),
    ]

    operations = [
        migrations.CreateModel(
            name='FailedLogIn',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('username', models.CharField(max_length=150)),
                ('address', models.CharField(max_length=64)),
                ('at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'indexes': [models.Index(fields=['address', 'username', 'at'], name='failed_by_person'), models.Index(fields=['at'], name='failed_at')],
            },
        ),
    ]
