"""Asks the Python Packaging Advisory Database which of the locked dependencies have known vulnerabilities.

``python .ci/audit_dependencies.py [requirements.lock]``. Exit code 0: none is known; 1: some are, each on a line;
2: the advisory service couldn't be asked, so nothing is known. It needs the network: CI doesn't run it.
"""

import json
import subprocess
import sys

_COMMAND = ("-m", "pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json")
CLEAN, VULNERABLE, UNKNOWN = 0, 1, 2


def main(lock: str) -> int:
    asked = subprocess.run(  # noqa: S603  # pip-audit of this environment
        [sys.executable, *_COMMAND, "--requirement", lock], capture_output=True, text=True, check=False
    )
    code, text = verdict(asked.stdout, asked.stderr)
    (sys.stdout if code == CLEAN else sys.stderr).write(f"{text}\n")
    return code


def verdict(told: str, errors: str = "") -> tuple[int, str]:
    """The exit code, and what to say of pip-audit's JSON. It ends with 1 for findings and for its own faults alike."""
    try:
        dependencies = json.loads(told)["dependencies"]
    except (ValueError, KeyError, TypeError):
        why = (errors.strip().splitlines() or ["it said nothing"])[-1]
        return UNKNOWN, f"The advisory service couldn't be asked, so nothing is known of the dependencies: {why:.300}"
    found = [
        f"{each['name']} {each['version']}: {known['id']}, mended in {', '.join(known['fix_versions']) or 'no version'}"
        for each in dependencies
        for known in each.get("vulns", ())
    ]
    unknown = [each for each in dependencies if "skip_reason" in each]
    skipped = [f"{each['name']}: nothing is known, {each['skip_reason']}" for each in unknown]
    if found or skipped:
        return VULNERABLE if found else UNKNOWN, "\n".join(found + skipped)
    return CLEAN, f"No vulnerability is known of any of {len(dependencies)} locked dependencies."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "requirements.lock"))
