"""Which versions of the exchanges' APIs there are, and which is used by whom; refuses what a running process would
refuse (ADR 24)."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from connections.exchanges import venues


class Command(BaseCommand):
    help = "Checks EXCHANGE_API_DIR and tells which version of each exchange's API is used. Exit code 1 for a fault."

    def handle(self, *args: Any, **options: Any) -> None:
        root = settings.CONFIG.exchange_api_dir
        here = sorted(path.name for path in Path(root).iterdir() if path.is_dir()) if root else []
        faults = [f"{name}: no such exchange" for name in here if name not in venues() and name[0] != "."]
        for slug, venue in venues().items():
            versions = venue.versions
            versions.look()
            used = ", ".join(f"{mode} by {versions.of(mode).version}" for mode in venue.modes)
            self.stdout.write(f"{slug}: {', '.join(versions.names())}; {used}")
            if (canary := versions.switch().canary) is not None:
                share = f"{canary.percent:g} % and {len(canary.connections)} named connections"
                self.stdout.write(f"  canary: {share} by {canary.version}")
            if versions.fault:
                faults.append(f"{slug}: {versions.fault}")
        if faults:
            raise CommandError("; ".join(faults))
