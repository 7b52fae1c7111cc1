from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_deleted_at")]

    operations = [
        migrations.AddField("user", "is_alpha", models.BooleanField(default=False)),
    ]
