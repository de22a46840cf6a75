"""Pods for the real node, as plain objects."""

from collections.abc import Mapping, Sequence
from typing import Any

from e2e.cluster import images
from e2e.cluster.realnode import NODE_NAME


def python_pod(name: str, code: str, env: Mapping[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A pod that runs Python code in the base image, pinned to the real node as Drumline pins its pods."""
    return pod(name, images.BASE, ["python3", "-u", "-c", code], env, **spec)


def pod(
    name: str, image: str, command: Sequence[str], env: Mapping[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    """A pod with one container, ``main``, which is not restarted; ``spec`` adds to the pod's spec."""
    variables = [{"name": key, "value": value} for key, value in (env or {}).items()]
    container = {"name": "main", "image": image, "command": list(command), "env": variables}
    container |= spec.pop("container", {})
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [NODE_NAME]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "containers": [container],
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "affinity": {"nodeAffinity": required},
            **spec,
        },
    }


def headless_service(name: str) -> dict[str, Any]:
    """A headless Service without a selector: somebody else writes its endpoints."""
    spec = {"clusterIP": "None", "ports": [{"name": "any", "port": 1}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def endpoint_slice(service: str, addresses: Mapping[str, str]) -> dict[str, Any]:
    """A slice of that Service which publishes ``hostname → IPv4 address``, with the labels Drumline sets."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-0",
            "labels": {
                "kubernetes.io/service-name": service,
                "endpointslice.kubernetes.io/managed-by": "drumline.dev",
                "service.kubernetes.io/headless": "",
            },
        },
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": [address], "hostname": hostname, "conditions": {"ready": True}}
            for hostname, address in addresses.items()
        ],
        "ports": [{"name": "any", "port": 1, "protocol": "TCP"}],
    }
