"""The package is for Python 3.9 and later, standard library only; what comes first is for any Python."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import drumline.worker

PACKAGE = Path(drumline.worker.__file__).parent
SOURCES = sorted(PACKAGE.glob("*.py"))
FIRST = ("boot.py", "hook.py", "old.py")
# in the standard library after 3.9
LATER = {"tomllib", "string.templatelib", "compression", "annotationlib"}
LATER_NAMES = {
    ("enum", "StrEnum"),
    ("datetime", "UTC"),
    ("typing", "Self"),
    ("typing", "TypeAlias"),
    ("typing", "ParamSpec"),
    ("typing", "override"),
    ("typing", "assert_never"),
    ("types", "NoneType"),
    ("itertools", "pairwise"),
    ("itertools", "batched"),
    ("asyncio", "timeout"),
    ("asyncio", "TaskGroup"),
    ("contextlib", "aclosing"),
    ("contextlib", "chdir"),
}


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_syntax_is_that_of_3_9(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Match)]
    if path.name not in FIRST:
        assert ("__future__", "annotations") in set(_imports(tree))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_imports_are_the_standard_librarys_and_its_own(path: Path) -> None:
    for module, name in _imports(ast.parse(path.read_text())):
        top = module.split(".")[0]
        assert (
            module.startswith("drumline.worker") or (module, name) == ("drumline", "worker") or top in ALLOWED
        )
        assert module not in LATER
        assert (module, name) not in LATER_NAMES


ALLOWED = sys.stdlib_module_names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_at_run_time_is_younger_than_3_9(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            keywords = {keyword.arg for keyword in node.keywords}
            name = ast.unparse(node.func)
            assert not (name == "zip" and "strict" in keywords)
            assert not (name == "dataclass" and keywords & {"slots", "kw_only"})
            union = name in ("isinstance", "issubclass") and isinstance(node.args[1], ast.BinOp)
            assert not union, ast.unparse(node)
        assert not (isinstance(node, ast.Assign) and _is_union(node.value)), "an alias is evaluated"


def _is_union(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and "None" in ast.unparse(node)


@pytest.mark.parametrize("name", FIRST)
def test_what_comes_first_is_understood_by_every_python(name: str) -> None:
    source = (PACKAGE / name).read_text(encoding="ascii")
    new = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef, ast.Await, ast.Nonlocal)
    for node in ast.walk(ast.parse(source)):
        assert not isinstance(node, (*new, ast.FunctionDef, ast.ClassDef, ast.Starred))
        assert not (isinstance(node, ast.Raise) and node.cause is not None)
        assert not (isinstance(node, ast.Call) and ast.unparse(node.func) == "print")
    assert "__future__" not in source


@pytest.mark.parametrize("version", [(2, 7), (3, 5), (3, 8)])
def test_an_old_python_runs_the_command_untouched(version: tuple[int, int]) -> None:
    calls: list[tuple[str, list[str]]] = []
    source = (PACKAGE / "boot.py").read_text()
    tree = ast.parse(source)
    body = next(node for node in tree.body if isinstance(node, ast.If)).body

    class Os:
        name = "posix"

        @staticmethod
        def execvp(file: str, words: list[str]) -> None:
            calls.append((file, words))
            raise SystemExit(0)

    class Sys:
        version_info = version
        argv = ("launcher.pyz", "--", "train", "--steps", "5")
        stderr = sys.stderr
        exit = staticmethod(sys.exit)

    Sys.argv = list(Sys.argv)  # type: ignore[assignment]
    code = compile(ast.Module(body=body, type_ignores=[]), "boot.py", "exec")
    with pytest.raises(SystemExit):
        exec(code, {"os": Os, "sys": Sys})
    assert calls == [("train", ["train", "--steps", "5"])]
