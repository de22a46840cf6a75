"""The ingest needs no more rights than the chart gives, and fills the Secret that the chart makes empty."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from drumline.runtime.kube import connect
from e2e.cluster.provider import Cluster
from tests.integration.chart import CHART, Helm
from tests.integration.ingest import SERVICE, ingest_lab

pytestmark = pytest.mark.cluster


async def test_a_report_under_the_charts_rights(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    helm = Helm(cluster, namespace, tmp_path)
    helm.install({"replicas": 0})
    assert "data" not in cluster.get("secret", SERVICE, "-n", namespace)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(helm.kubeconfig()))
    async with (
        await connect(str(cluster.kubeconfig)) as client,
        await connect(str(kubeconfig)) as limited,
        ingest_lab(cluster, client, namespace, tmp_path, kubeconfig, limited) as lab,
    ):
        uid = await lab.job("llama")
        token = await lab.token(await lab.pod("llama", uid))
        answer = await lab.send(token, lab.report("llama", uid))
        assert answer.status == 200, answer
        assert "403" not in lab.log.read_text()
    kept = cluster.get("secret", SERVICE, "-n", namespace)["data"]
    assert {"tls.crt", "tls.key", "ca.crt", "authorities.pem"} == kept.keys()
    published = cluster.get("configmap", "drumline-ca", "-n", namespace)["data"]["ca.crt"]
    assert base64.b64decode(kept["ca.crt"]).decode() == published
    helm("upgrade", namespace, str(CHART), "--reuse-values", values={"settings": {"headWait": 7}})
    assert cluster.get("secret", SERVICE, "-n", namespace)["data"] == kept, "an upgrade keeps it"
    helm.uninstall()
