#!/bin/sh
# Makes the virtual environment $1 with the first Python found that is new enough, or says what is missing.
set -eu
venv=$1

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if [ -x "$venv/bin/python" ] && new_enough "$venv/bin/python"; then
    exit 0
fi
for python in python3.11 python3 python3.12 python3.13; do
    if new_enough "$python"; then
        if ! "$python" -c 'import ensurepip' 2>/dev/null; then
            version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
            echo "This Python can't make virtual environments. On Debian: apt-get install python$version-venv" >&2
            exit 1
        fi
        exec "$python" -m venv --clear "$venv"
    fi
done
echo "DES needs Python 3.11 or newer, and none is on PATH." >&2
exit 1
