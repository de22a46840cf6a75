"""`kubectl drumline goodput` against a real API server, as kubectl's plugin and in this process."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

from drumline.api.meta import INFERENCE_SERVICES, TRAINING_JOBS
from drumline.cli.cluster import OK, UNREACHABLE
from drumline.cli.goodput import ABSENT
from drumline.cli.main import main
from e2e.cluster import build
from e2e.cluster.provider import Cluster
from tests.integration.admission import install
from tests.unit.cli.goodput_sample import GOODPUT, job
from tests.unit.cli.service_sample import SERVING, service

TEMPLATE = {"spec": {"containers": [{"name": "train", "image": "img"}]}}


@pytest.fixture(scope="module", autouse=True)
def _crd(cluster: Cluster) -> None:
    for plural in (TRAINING_JOBS, INFERENCE_SERVICES):
        install(cluster, plural)


def created(cluster: Cluster, namespace: str, name: str, *, ledger: bool = True) -> None:
    """A job nobody runs, with a status as the operator writes it."""
    manifest = job(name, namespace)
    manifest["spec"] |= {"template": TEMPLATE, "managedBy": "example.com/nobody"}
    _create(cluster, manifest, ledger=ledger)


def created_service(cluster: Cluster, namespace: str, name: str) -> None:
    """A service nobody runs, with a status as the operator writes it."""
    manifest = service(name, namespace)
    role = {"name": "serve", "accelerator": {"type": "cpu"}, "template": TEMPLATE}
    manifest["spec"] |= {"roles": [role], "managedBy": "example.com/nobody"}
    _create(cluster, manifest, ledger=True)


def _create(cluster: Cluster, manifest: dict[str, Any], *, ledger: bool) -> None:
    status = manifest.pop("status")
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    if ledger:
        patch = json.dumps({"status": status})
        arguments = ("--subresource=status", "--type=merge", "-p", patch)
        cluster.kubectl("patch", manifest["kind"].lower(), name, "-n", namespace, *arguments)


def plugin(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run kubectl, which finds kubectl-drumline on its PATH."""
    environment = {
        "PATH": f"{sysconfig.get_path('scripts')}:/usr/bin:/bin",
        "HOME": "/nonexistent",
        "KUBECONFIG": str(cluster.kubeconfig),
    }
    command = [str(build.binary("kubectl")), "drumline", "goodput", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_as_a_plugin(cluster: Cluster, namespace: str) -> None:
    created(cluster, namespace, "llama")
    created(cluster, namespace, "new", ledger=False)
    listed = plugin(cluster, "-n", namespace)
    assert listed.returncode == 0, listed.stderr
    lines = [line.split() for line in listed.stdout.splitlines()]
    assert [line[0] for line in lines] == ["JOB", "llama", "new"]
    assert lines[1][1:5] == ["Running", "32", "x", "nvidia-h100-80gb"]
    everywhere = plugin(cluster, "-A")
    assert any(line.split()[:2] == [namespace, "llama"] for line in everywhere.stdout.splitlines())


def test_what_the_server_keeps_is_what_is_shown(
    cluster: Cluster, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    created(cluster, namespace, "llama")
    access = ("-n", namespace, "--kubeconfig", str(cluster.kubeconfig))
    assert main(["goodput", "llama", *access, "-o", "json"]) == OK
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert body["derived"]["balanced"] is True
    for name in ("states", "ratios", "timeline", "elapsedMs"):
        assert _subset(GOODPUT[name], body["goodput"][name])


def _subset(part: Any, whole: Any) -> bool:
    """Whether `whole` has all of `part`; the server and the models add defaults."""
    if isinstance(part, dict):
        return all(_subset(value, whole[key]) for key, value in part.items())
    if isinstance(part, list):
        return len(part) == len(whole) and all(map(_subset, part, whole))
    return bool(part == whole)


def test_a_report_from_the_cluster(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    created(cluster, namespace, "llama")
    target = tmp_path / "report.html"
    done = plugin(cluster, "llama", "-n", namespace, "--html", str(target))
    assert done.returncode == 0, done.stderr
    assert f"{namespace}/llama" in target.read_text()


def test_services_beside_jobs(cluster: Cluster, namespace: str) -> None:
    created(cluster, namespace, "llama")
    created_service(cluster, namespace, "chat")
    listed = plugin(cluster, "-n", namespace)
    assert listed.returncode == 0, listed.stderr
    words = [line.split() for line in listed.stdout.splitlines() if line]
    assert [line[0] for line in words[:4]] == ["JOB", "llama", "SERVICE", "chat"]
    assert words[3][1:5] == ["Degraded", "3/4", "0.02", "98.77"]
    shown = plugin(cluster, "chat", "-n", namespace, "-o", "json")
    assert shown.returncode == 0, shown.stderr
    body = json.loads(shown.stdout)
    assert body["derived"]["balanced"] is True
    assert _subset(SERVING["roles"], body["serving"]["roles"])


def test_a_user_who_may_not_read_services_sees_the_jobs(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    created(cluster, namespace, "llama")
    created_service(cluster, namespace, "chat")
    kubeconfig = tmp_path / "jobs-only"
    _grant_jobs(cluster, namespace, kubeconfig)
    listed = plugin(cluster, "-n", namespace, "--kubeconfig", str(kubeconfig))
    assert listed.returncode == 0, listed.stderr
    assert "InferenceServices are not shown: " in listed.stderr
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["JOB", "llama"]
    refused = plugin(cluster, "chat", "-n", namespace, "--kubeconfig", str(kubeconfig))
    assert refused.returncode == UNREACHABLE
    assert "forbidden" in refused.stderr


def _grant_jobs(cluster: Cluster, namespace: str, kubeconfig: Path) -> None:
    """A kubeconfig of somebody who may read the namespace's TrainingJobs alone."""
    of = ("-n", namespace)
    cluster.kubectl("create", "serviceaccount", "reader", *of)
    cluster.kubectl("create", "role", "jobs", "--verb=get,list", "--resource=trainingjobs.drumline.dev", *of)
    cluster.kubectl(
        "create", "rolebinding", "jobs", "--role=jobs", f"--serviceaccount={namespace}:reader", *of
    )
    token = cluster.kubectl("create", "token", "reader", *of).strip()
    config = yaml.safe_load(Path(cluster.kubeconfig).read_text(encoding="utf-8"))
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")


def test_errors_are_clear(cluster: Cluster, namespace: str) -> None:
    absent = plugin(cluster, "nobody", "-n", namespace)
    assert absent.returncode == ABSENT
    assert f"error: TrainingJob or InferenceService {namespace}/nobody not found" in absent.stderr
    created(cluster, namespace, "new", ledger=False)
    early = plugin(cluster, "new", "-n", namespace)
    assert early.returncode == ABSENT
    assert "has no ledger yet" in early.stderr
