from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_resets_codes_disclosure_teams")]

    operations = [
        migrations.AddField("user", "deleted_at", models.DateTimeField(null=True, blank=True, editable=False)),
    ]
