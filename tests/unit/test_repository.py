"""What holds for the repository as a whole: layout, sizes, and that documents keep up with the code."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from drumline.api.reasons import Cause, ConditionType, Reason

ROOT = Path(__file__).resolve().parents[2]
OPERATOR = ROOT / "operator"
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_MEDIAN = 12
MAX_TEXT_BYTES = 2_000_000

# Written in pieces, so that this file does not contain what it looks for.
MACHINE_PATHS = re.compile(r"(?<![\w.$}])/(?:ro" + r"ot|wo" + r"rk)/[\w.]")
REGISTRIES = re.compile(
    r"\b(?:docker\.io|quay\.io|ghcr\.io|gcr\.io|registry\.k8s\.io|[a-z0-9-]+\.pkg\.dev|mcr\.microsoft\.com|nvcr\.io)\b"
)


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [p for p in paths if p.is_file() and not p.is_symlink()]


def _text(path: Path) -> str | None:
    if path.stat().st_size > MAX_TEXT_BYTES:
        return None
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return None


def _python_files(*folders: str) -> list[Path]:
    return [p for folder in folders for p in sorted((ROOT / folder).rglob("*.py"))]


def _functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def _headings(document: str) -> set[str]:
    text = (ROOT / "docs" / document).read_text()
    return {m[1].strip("` ") for m in re.finditer(r"^#{2,4} +(.+?) *$", text, re.MULTILINE)}


def test_operator_holds_the_package_alone() -> None:
    # an operator/__init__.py would shadow the standard library's module of that name
    children = {p.name for p in OPERATOR.iterdir() if p.name not in ("__pycache__", ".mypy_cache")}
    assert children == {"drumline"}


def test_files_are_short() -> None:
    lengths = {
        p: len(p.read_text().splitlines()) for p in _python_files("operator", "e2e", "tests", "examples")
    }
    too_long = {str(p.relative_to(ROOT)): n for p, n in lengths.items() if n > MAX_FILE_LINES}
    assert len(lengths) > 50
    assert not too_long


def test_functions_are_short() -> None:
    found = [(p, *f) for p in _python_files("operator", "e2e", "tests", "examples") for f in _functions(p)]
    too_long = [
        f"{p.relative_to(ROOT)}:{name} has {n} lines" for p, name, n in found if n > MAX_FUNCTION_LINES
    ]
    assert not too_long


def test_the_median_function_is_short() -> None:
    lengths = [n for p in _python_files("operator") for _, n in _functions(p)]
    assert len(lengths) > 100
    assert statistics.median(lengths) <= MAX_MEDIAN


def test_no_file_names_a_machines_paths() -> None:
    hits = []
    for path in _tracked():
        for number, line in enumerate((_text(path) or "").splitlines(), start=1):
            if MACHINE_PATHS.search(line):
                hits.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    assert not hits


def test_no_file_names_a_registry() -> None:
    hits = []
    for path in _tracked():
        # Go's checksum files list modules, whose names may be hosts
        if path == Path(__file__) or path.name in ("go.mod", "go.sum"):
            continue
        if path.relative_to(ROOT).parts[:2] == ("e2e", "cluster") or path.name == "test_images_archive.py":
            continue  # containerd completes a name without a host; imported images are found under that
        for number, line in enumerate((_text(path) or "").splitlines(), start=1):
            if REGISTRIES.search(line):
                hits.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    assert not hits


@pytest.mark.parametrize("reason", sorted({*Reason, *Cause}))
def test_troubleshooting_has_a_section_for(reason: str) -> None:
    assert str(reason) in _headings("troubleshooting.md")


def test_troubleshooting_names_no_reason_that_does_not_exist() -> None:
    known = {str(r) for r in (*Reason, *Cause, *ConditionType)}
    camel = {h for h in _headings("troubleshooting.md") if re.fullmatch(r"(?:[A-Z][a-z0-9]+)+", h)}
    sections = {"Conditions", "Waiting", "Starting", "Running", "Ended", "Causes"}
    assert camel - sections <= known


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "CHANGELOG.md",
        *(f"docs/{n}.md" for n in ("architecture", "operations", "troubleshooting")),
    ],
)
def test_links_between_documents_hold(document: str) -> None:
    path = ROOT / document
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", path.read_text())
    missing = [t for t in targets if not (path.parent / t).exists()]
    assert not missing


def test_every_decision_record_has_the_same_parts() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    numbers = [int(p.name[:4]) for p in records]
    assert numbers == list(range(1, len(records) + 1))
    for path in records:
        text = path.read_text()
        assert re.match(rf"# {int(path.name[:4])}\. .+\n", text), path.name
        for part in ("## Context", "## Decision", "## Consequences"):
            assert part in text, f"{path.name} lacks {part}"
