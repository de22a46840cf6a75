"""Writes the launcher into a directory: `python -m drumline.worker.install DIRECTORY`.

`launcher.pyz` is one file with this package in it: run it, or put it on PYTHONPATH to import
`drumline.worker`. The same sources give the same bytes. It is there whole or not at all.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Final

LAUNCHER: Final = "launcher.pyz"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
# the rest of the package may be installed elsewhere: an import finds both
_NAMESPACE: Final = '__path__ = __import__("pkgutil").extend_path(__path__, __name__)\n'


def archive() -> dict[str, bytes]:
    """The launcher's files."""
    sources = Path(__file__).parent
    files = {"__main__.py": (sources / "boot.py").read_bytes(), "drumline/__init__.py": _NAMESPACE.encode()}
    files["drumline_old.py"] = (sources / "old.py").read_bytes()  # no Python of before 3 reads our package
    for path in sorted(sources.glob("*.py")):
        files[f"drumline/worker/{path.name}"] = path.read_bytes()
    return files


def install(directory: Path) -> Path:
    """Write it; returns its path. Raises OSError."""
    target = directory / LAUNCHER
    partial = directory / f".{LAUNCHER}.partial"
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in archive().items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            zipped.writestr(entry, content)
    partial.chmod(0o644)
    partial.replace(target)
    return target


def main(arguments: list[str]) -> int:
    """The command line."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m drumline.worker.install DIRECTORY\n")
        return 2
    try:
        install(Path(arguments[0]))
    except OSError as error:
        sys.stderr.write(f"drumline: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
