from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

import django.utils.timezone


def from_creation(apps: Apps, _: BaseDatabaseSchemaEditor) -> None:
    """When a key was replaced wasn't kept: at most as old as its connection."""
    rows = apps.get_model("connections", "Connection")._base_manager.all()
    rows.update(key_set_at=models.F("created_at"))


class Migration(migrations.Migration):
    dependencies = [("connections", "0002_key_holders")]
    operations = [
        migrations.AddField(
            "connection", "key_set_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)
        ),
        migrations.RunPython(from_creation, migrations.RunPython.noop),
    ]
