"""Manifests in and out, as kubectl has them."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from drumline.cli import manifests
from drumline.cli.manifests import InputError

JOB = "apiVersion: drumline.dev/v1alpha1\nkind: TrainingJob\nmetadata: {name: a}\n"
NODE: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}


def write(path: Path, text: str) -> str:
    file = path / "input.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_the_job_is_found_among_other_documents(tmp_path: Path) -> None:
    text = f"---\n---\napiVersion: v1\nkind: ConfigMap\n---\n{JOB}"
    assert manifests.one_of_ours(write(tmp_path, text))["metadata"] == {"name": "a"}


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(JOB))
    assert manifests.one_of_ours("-")["metadata"] == {"name": "a"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "given 0 objects of kind TrainingJob"),
        (f"{JOB}---\n{JOB}", "given 2 objects of kind TrainingJob"),
        (JOB.replace("drumline.dev", "other.dev"), "given 0 objects"),
        ("a: [", "neither YAML nor JSON"),
        ("- plain text", "given 0 objects"),
        ("a: !!python/object:os.system {}", "neither YAML nor JSON"),
        ("? [a, b]\n: 1", "neither YAML nor JSON"),
    ],
)
def test_unusable_input_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=message) as caught:
        manifests.one_of_ours(path)
    assert str(caught.value).startswith(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.yaml"):
        manifests.one_of_ours(str(tmp_path / "no.yaml"))


def test_dates_and_keys_are_text_as_in_kubernetes(tmp_path: Path) -> None:
    [document] = manifests.read_documents(write(tmp_path, "day: 2026-11-21\nlabels: {1: x}\n"))
    assert document == {"day": "2026-11-21", "labels": {"1": "x"}}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"apiVersion": "v1", "kind": "List", "items": [NODE, NODE]}),
        yaml.safe_dump([NODE, NODE]),
        yaml.safe_dump_all([NODE, NODE]),
    ],
)
def test_nodes_come_in_every_form_that_tools_print(tmp_path: Path, text: str) -> None:
    assert manifests.nodes(write(tmp_path, text)) == [NODE, NODE]


def test_a_file_without_nodes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no v1\.Node"):
        manifests.nodes(write(tmp_path, JOB))


def test_shared_parts_are_written_out() -> None:
    part = {"x": 1}
    text = manifests.to_yaml([("", {"a": part, "b": part})])
    assert text == "---\na:\n  x: 1\nb:\n  x: 1\n"


def test_remarks_are_comments() -> None:
    assert manifests.to_yaml([("one\ntwo", {"a": 1})]) == "---\n# one\n# two\na: 1\n"


VALUES = st.text() | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.none()


@given(st.lists(st.dictionaries(st.text(), VALUES), max_size=3))
def test_what_is_printed_reads_back(documents: list[dict[str, Any]]) -> None:
    text = manifests.to_yaml([("", d) for d in documents])
    assert list(yaml.safe_load_all(text)) == documents
    assert json.loads(manifests.to_json(documents))["items"] == documents


@pytest.mark.parametrize("text", ["y", "No", "on", "1_000", "0o17", "1:30", "1e3", "-5", "true", "null", ""])
def test_text_that_reads_like_something_else_is_quoted(text: str) -> None:
    line = manifests.to_yaml([("", {"a": text})]).splitlines()[1]
    assert line.removeprefix("a: ")[0] in "\"'"
