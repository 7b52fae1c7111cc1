from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from accounts.tenancy import everyone
from trading.dry_run import fingerprint


def let_them_go_on(apps: Apps, _: BaseDatabaseSchemaEditor) -> None:
    """Instances that traded live before there was a gate may go on, as they are now."""
    instances = apps.get_model("trading", "StrategyInstance")._base_manager
    lifts = apps.get_model("trading", "DryRunLift")._base_manager
    with everyone():
        for row in instances.filter(mode="live", is_deleted=False, started_at__isnull=False).iterator():
            lifts.create(
                user_id=row.user_id, instance_id=row.pk, reason="traded live before there was a gate",
                fingerprint=fingerprint(row, row.connection_id, row.connection_b_id),
            )


class Migration(migrations.Migration):
    dependencies = [("trading", "0010_dry_runs")]
    operations = [migrations.RunPython(let_them_go_on, migrations.RunPython.noop)]
