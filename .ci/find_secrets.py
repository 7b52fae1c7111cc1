"""Looks for credentials in the files given, or in every file that git knows; prints where and ends with 1 if any.

A line that only looks like one (a published example, a test's made-up key) says so by the words "not a secret".
"""

import re
import subprocess
import sys
from pathlib import Path

ALLOWED = "not a secret"
SKIPPED = {"requirements.lock"}  # hashes of packages
PATTERNS = {
    "private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "access key of a cloud": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "token of a code host": re.compile(r"\b(?:gh[pousr]_\w{36,}|github_pat_\w{22,})"),
    "token of a messenger": re.compile(r"\b(?:xox[abprs]-[\w-]{20,}|\d{8,10}:AA[\w-]{33})"),
    "signed token": re.compile(r"\beyJ[\w-]{15,}\.eyJ[\w-]{15,}\.[\w-]{20,}"),
    "exchange API key or secret": re.compile(r"(?<![\w/+-])(?=\w*[a-z])(?=\w*[A-Z])(?=\w*\d)\w{64}(?![\w/+-])"),
    "value of a secret setting": re.compile(
        r"(?:MASTER_ENCRYPTION_KEY(?:_V\d+)?|JWT_SECRET|SECRET_KEY|API_SECRET|PASSWORD)\s*[=:]\s*[\"']?[\w/+-]{40,}=*",
        re.IGNORECASE,
    ),
    "password in a URL": re.compile(
        r"\b(?:postgres(?:ql)?|rediss?)://[^\s:/@{]+:[^\s@{<$*]{6,}@(?!127\.0\.0\.1|localhost|[\w.]*example)"
    ),
}  # fmt: skip


def findings(text: str) -> list[tuple[int, str]]:
    """Line numbers, and what each seems to hold."""
    return [
        (number, kind)
        for number, line in enumerate(text.splitlines(), 1)
        if ALLOWED not in line
        for kind, pattern in PATTERNS.items()
        if pattern.search(line)
    ]


def _tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True)  # noqa: S607
    return [name for name in listed.stdout.split("\0") if name]


def main(names: list[str]) -> int:
    found = 0
    for name in names or _tracked():
        path = Path(name)
        if path.name in SKIPPED or not path.is_file():
            continue
        for number, kind in findings(path.read_text(errors="replace")):
            found += 1
            sys.stderr.write(f"{name}:{number}: looks like a {kind}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
