"""kwok: the program that plays the kubelets of fake nodes.

It takes only nodes that carry the annotation ``kwok.x-k8s.io/node: fake``, so that a real node can stand
beside them, and it works under a role of its own rather than as an administrator.
"""

from typing import Any

from e2e.cluster import fakepods
from e2e.cluster.api import Api, ApiError
from e2e.cluster.components import Layout

USER = "drumline:kwok"
_ANNOTATION = "kwok.x-k8s.io/node=fake"
# The API server applies this one, so a node that `nodes.lose_node` labels later is let go of.
_NOT_LOST = "fake.drumline.dev/kubelet!=lost"
_REMINDER = "fake.drumline.dev/changed-at-version"
# Leases are renewed four times as often as they run out: every 30 s, within the 50 s after which the
# controller manager gives a node up. kwok's own default costs a request a second for every 10 nodes.
_LEASE_SECONDS = 120
# Requests at the same time, for each kind of work; kwok fills in no default where a file leaves one out.
_PARALLELISM = 16
# Room for as many fake pods as a control plane can take, apart from Services and real pods.
_POD_CIDR = "10.128.0.0/9"


def arguments(layout: Layout) -> list[str]:
    """The command line."""
    return [
        f"--kubeconfig={layout.kubeconfig('kwok')}",
        f"--config={layout.root / 'kwok.yaml'}",
    ]


def configuration() -> str:
    """The configuration file: its options, then the stages that nodes and pods go through."""
    options = f"""\
apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokConfiguration
options:
  manageAllNodes: false
  manageNodesWithAnnotationSelector: {_ANNOTATION}
  manageNodesWithLabelSelector: {_NOT_LOST}
  cidr: {_POD_CIDR}
  nodeLeaseDurationSeconds: {_LEASE_SECONDS}
  podPlayStageParallelism: {_PARALLELISM}
  nodePlayStageParallelism: {_PARALLELISM}
  nodeLeaseParallelism: {_PARALLELISM}
  podsOnNodeSyncParallelism: {_PARALLELISM}
"""
    return f"{options}---\n{fakepods.kwok_config()}"


def grant(api: Api) -> None:
    """Give kwok's user its role: what a kubelet does, for any node."""
    rules = [
        _rule("", ["nodes"], ["get", "list", "watch", "patch"]),
        _rule("", ["nodes/status", "pods/status"], ["patch", "update"]),
        _rule("", ["pods"], ["get", "list", "watch", "patch", "update", "delete"]),
        _rule("", ["events"], ["create", "patch", "update"]),
        _rule("coordination.k8s.io", ["leases"], ["get", "list", "watch", "create", "patch", "update"]),
    ]
    group = "rbac.authorization.k8s.io"
    head = {"apiVersion": f"{group}/v1", "metadata": {"name": USER}}
    api.create(f"/apis/{group}/v1/clusterroles", {**head, "kind": "ClusterRole", "rules": rules})
    binding = {
        **head,
        "kind": "ClusterRoleBinding",
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": USER},
        "subjects": [{"apiGroup": group, "kind": "User", "name": USER}],
    }
    api.create(f"/apis/{group}/v1/clusterrolebindings", binding)


def remind(api: Api) -> bool:
    """Change every pod that has something to do yet, so that kwok looks at it again; false where that is yet to be repeated.

    kwok does not repeat a write that met a lost connection or an error within the API server.
    """
    try:
        for pod in api.request("GET", "/api/v1/pods")["items"]:
            over = pod["status"].get("phase") not in ("Pending", "Running")
            if pod["spec"].get("nodeName") and (not over or "deletionTimestamp" in pod["metadata"]):
                _touch(api, pod["metadata"])
    except (ApiError, OSError):
        return False
    return True


def _touch(api: Api, metadata: dict[str, Any]) -> None:
    body = {"metadata": {"annotations": {_REMINDER: metadata["resourceVersion"]}}}
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
    try:
        api.request("PATCH", path, body, content="application/merge-patch+json")
    except ApiError as error:
        if error.code != 404:
            raise


def _rule(group: str, resources: list[str], verbs: list[str]) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}
