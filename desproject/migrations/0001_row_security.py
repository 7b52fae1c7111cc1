from django.db import migrations

from desproject.postgresql.row_security import WallTables


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('accounts', '0005_deleted_at'),
        ('audit', '0002_seals'),
        ('connections', '0003_key_set_at'),
        ('risk', '0001_initial'),
        ('trading', '0002_equity_points'),
    ]

    operations = [
        WallTables(
            'audit_logs', 'balances', 'commands', 'connections', 'disclosure_acceptances', 'equity_points',
            'kill_switches', 'order_attempts', 'order_events', 'orders', 'positions', 'reservations', 'risk_metrics',
            'risk_policies', 'signals', 'strategy_instances', 'trades',
        ),
    ]
