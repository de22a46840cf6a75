"""The real node: containers run, names resolve, addresses answer."""

import json

from e2e.cluster.realnode import NODE_NAME
from e2e.suites.pods import endpoint_slice, headless_service, python_pod
from tests.realnode.conftest import Real

_ASK_THE_API = """
import json, pathlib, ssl, urllib.request
account = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
request = urllib.request.Request("https://kubernetes.default/api/v1/namespaces/default/pods/asks-the-api",
    headers={"Authorization": "Bearer " + (account / "token").read_text()})
context = ssl.create_default_context(cafile=str(account / "ca.crt"))
print(json.load(urllib.request.urlopen(request, context=context, timeout=10))["metadata"]["uid"])
"""
_SERVE = """
import socket
server = socket.create_server(("", 7000))
while True:
    connection, _ = server.accept()
    connection.sendall(b"hello from " + socket.gethostname().encode())
    connection.close()
"""
_CALL = """
import os, socket, time
while True:
    try:
        with socket.create_connection((os.environ["PEER"], 7000), timeout=5) as connection:
            print(socket.gethostbyname(os.environ["PEER"]), connection.makefile().read())
            break
    except OSError:
        time.sleep(0.1)
"""


def test_node_is_ready_and_not_a_fake(real: Real) -> None:
    node = real.kubectl.get("node", NODE_NAME)
    ready = [item["status"] for item in node["status"]["conditions"] if item["type"] == "Ready"]
    assert ready == ["True"]
    assert "kwok.x-k8s.io/node" not in node["metadata"].get("annotations", {})
    assert node["status"]["nodeInfo"]["kubeletVersion"].startswith("v1.")


def test_a_pod_runs_and_its_log_is_read(real: Real) -> None:
    real.kubectl.apply(python_pod("speaks", "import sys; print('python', *sys.version_info[:2])"))
    real.kubectl.wait_pod("speaks", "Succeeded")
    assert real.kubectl.logs("speaks") == "python 3 11\n"


def test_an_exit_code_arrives(real: Real) -> None:
    real.kubectl.apply(python_pod("fails", "raise SystemExit(42)"))
    pod = real.kubectl.wait_pod("fails", "Failed")
    [status] = pod["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 42


def test_running_out_of_memory_is_reported_as_such(real: Real) -> None:
    limits = {"resources": {"limits": {"memory": "64Mi"}}}
    real.kubectl.apply(python_pod("hungry", "x = bytearray(512 << 20)", container=limits))
    pod = real.kubectl.wait_pod("hungry", "Failed")
    [status] = pod["status"]["containerStatuses"]
    assert status["state"]["terminated"]["reason"] == "OOMKilled"


def test_a_pod_reaches_the_api_server_through_its_cluster_ip(real: Real) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "reads-pods"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    }
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reads-pods"}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "reads-pods"},
        "roleRef": reference,
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
    }
    real.kubectl.apply(role, binding, python_pod("asks-the-api", _ASK_THE_API))
    pod = real.kubectl.wait_pod("asks-the-api", "Succeeded")
    assert real.kubectl.logs("asks-the-api").strip() == pod["metadata"]["uid"]


def test_two_pods_meet_through_a_service_without_a_selector(real: Real) -> None:
    server = python_pod("meet-0", _SERVE, hostname="meet-0", subdomain="meet")
    client = python_pod("meet-1", _CALL, {"PEER": "meet-0.meet"}, hostname="meet-1", subdomain="meet")
    real.kubectl.apply(headless_service("meet"), server, client)
    address = real.kubectl.wait_pod("meet-0", "Running")["status"]["podIP"]
    real.kubectl.apply(endpoint_slice("meet", {"meet-0": address}))
    real.kubectl.wait_pod("meet-1", "Succeeded")
    assert real.kubectl.logs("meet-1") == f"{address} hello from meet-0\n"
    real.kubectl.delete("pod", "meet-0")


def test_two_pods_meet_through_a_cluster_ip(real: Real) -> None:
    ports = [{"port": 7000, "targetPort": 7000}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "balanced"},
        "spec": {"selector": {"app": "balanced-0"}, "ports": ports},
    }
    server, client = python_pod("balanced-0", _SERVE), python_pod("balanced-1", _CALL, {"PEER": "balanced"})
    real.kubectl.apply(service, server, client)
    real.kubectl.wait_pod("balanced-1", "Succeeded")
    address = real.kubectl.get("service", "balanced")["spec"]["clusterIP"]
    assert real.kubectl.logs("balanced-1") == f"{address} hello from balanced-0\n"
    real.kubectl.delete("pod", "balanced-0")


def test_images_are_known_to_the_store_by_their_identity(real: Real) -> None:
    record = json.loads((real.node.store.root / "imported.json").read_text())
    assert len(record["drumline/base:1"]) == 64
