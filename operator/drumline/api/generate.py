"""The command line of what is generated: write the file, or check that it is up to date."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def run(file: Path, content: str, arguments: Sequence[str]) -> int:
    """Write or check `file`, relative to the working directory. Returns the exit status."""
    parser = argparse.ArgumentParser(description=f"Generates {file}.")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--write", action="store_true", help="write the file")
    mode.add_argument("--check", action="store_true", help="fail when the file is out of date")
    if parser.parse_args(arguments).write:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        return 0
    if file.is_file() and file.read_text(encoding="utf-8") == content:
        return 0
    sys.stderr.write(f"{file} is out of date: generate it with --write\n")
    return 1
