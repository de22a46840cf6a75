import pytest

from drumline.runtime.http_paths import request_labels, resource_path, with_params


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("pods",), "/api/v1/pods"),
        (("pods", "ns"), "/api/v1/namespaces/ns/pods"),
        (("endpointslices", "ns", "a"), "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices/a"),
        (
            ("trainingjobs", "ns", "a", "status"),
            "/apis/drumline.dev/v1alpha1/namespaces/ns/trainingjobs/a/status",
        ),
        (
            ("podgroups.v1alpha2.scheduling.k8s.io", "ns", "a"),
            "/apis/scheduling.k8s.io/v1alpha2/namespaces/ns/podgroups/a",
        ),
        (("nodes", "", "n/../x"), "/api/v1/nodes/n%2F..%2Fx"),
    ],
)
def test_paths(arguments: tuple[str, ...], expected: str) -> None:
    assert resource_path(*arguments) == expected


def test_unknown_resource_is_an_error() -> None:
    with pytest.raises(KeyError):
        resource_path("cronjobs")


def test_params() -> None:
    assert with_params("/a", {"labelSelector": "x=y", "limit": 1}) == "/a?labelSelector=x%3Dy&limit=1"
    assert with_params("/a", None) == "/a"


@pytest.mark.parametrize(
    ("method", "path", "params", "expected"),
    [
        ("GET", "/api/v1/pods", {"watch": "1"}, ("watch", "pods")),
        ("GET", "/api/v1/namespaces/ns/pods", None, ("list", "pods")),
        ("GET", "/api/v1/namespaces/ns/pods/a", None, ("get", "pods")),
        ("GET", "/api/v1/namespaces", None, ("list", "namespaces")),
        ("GET", "/api/v1/namespaces/ns", None, ("get", "namespaces")),
        ("POST", "/apis/apps/v1/namespaces/ns/controllerrevisions", None, ("create", "controllerrevisions")),
        ("PATCH", "/apis/d/v1/namespaces/ns/trainingjobs/a/status", None, ("patch", "trainingjobs/status")),
        ("DELETE", "/api/v1/namespaces/ns/pods/a", None, ("delete", "pods")),
        ("GET", "/version", None, ("get", "nonresource")),
        ("GET", "/apis/apps/v1", None, ("get", "discovery")),
    ],
)
def test_labels_of_requests(method: str, path: str, params: dict | None, expected: tuple[str, str]) -> None:
    assert request_labels(method, path, params) == expected
