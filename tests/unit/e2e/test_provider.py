"""Which provider is chosen, and what is said when none can be."""

import stat
from pathlib import Path

import pytest

from e2e.cluster import provider


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DRUMLINE_CLUSTER", raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("DRUMLINE_KUBERNETES", raising=False)
    return tmp_path


def _program(path: Path, code: int = 0) -> None:
    path.write_text(f"#!/bin/sh\nexit {code}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)


def test_the_embedded_cluster_is_the_last_resort() -> None:
    assert provider.choose().name == "embedded"


def test_kind_is_chosen_where_an_engine_answers(bare: Path) -> None:
    _program(bare / "kind")
    _program(bare / "docker")
    assert provider.choose().name == "kind"
    _program(bare / "docker", code=1)
    assert provider.Kind().why_not() == "no Docker engine answers"
    assert provider.choose().name == "embedded"


def test_kind_has_one_version_of_kubernetes(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(bare / "kind")
    _program(bare / "docker")
    monkeypatch.setenv("DRUMLINE_KUBERNETES", "1.37")
    assert provider.choose().name == "embedded"
    monkeypatch.setenv("DRUMLINE_CLUSTER", "kind")
    with pytest.raises(RuntimeError, match=r"kind: its node image is Kubernetes 1\.36"):
        provider.choose()


def test_an_existing_cluster_is_used_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/etc/somebody/production")
    assert provider.choose().name == "embedded"
    monkeypatch.setenv("DRUMLINE_CLUSTER", "existing")
    assert provider.choose().name == "existing"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("existing", "DRUMLINE_CLUSTER=existing: KUBECONFIG is not set"),
        ("kind", "DRUMLINE_CLUSTER=kind: docker is not installed"),
        ("cloud", "DRUMLINE_CLUSTER=cloud is none of existing, kind, embedded"),
    ],
)
def test_what_was_asked_for_and_cannot_be_is_said(
    name: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRUMLINE_CLUSTER", name)
    with pytest.raises(RuntimeError) as error:
        provider.choose()
    assert str(error.value) == reason
