"""What is published, where and when."""

from __future__ import annotations

from typing import Any

from drumline.core.gang.discovery import (
    Endpoint,
    ObservedDiscovery,
    ObservedService,
    Published,
    is_kube_dns,
    plan_discovery,
)
from drumline.core.gang.names import Owner
from drumline.core.gang.plan import Action, Apply

OWNER = Owner("drumline.dev/v1alpha1", "TrainingJob", "team", "llama", "u-1")
OURS = ObservedService(ours=True, uid="s")


def gang(count: int, *, ready: int | None = None) -> list[Endpoint]:
    ready = count if ready is None else ready
    return [
        Endpoint(f"llama-0-{i}", (f"10.{i // 256}.{i % 256}.1",) if i < ready else ()) for i in range(count)
    ]


def applied(actions: tuple[Action, ...], resource: str) -> dict[str, Any]:
    return {
        a.manifest["metadata"]["name"]: a.manifest
        for a in actions
        if isinstance(a, Apply) and a.resource == resource
    }


def content(manifest: dict[str, Any]) -> Published:
    return tuple((e["hostname"], tuple(e["addresses"])) for e in manifest["endpoints"])


def published(actions: tuple[Action, ...], at: float) -> ObservedDiscovery:
    slices = {name: content(m) for name, m in applied(actions, "endpointslices").items()}
    return ObservedDiscovery(OURS, slices, last_written_at=at)


def test_first_plan_writes_a_headless_service_without_selector() -> None:
    actions, wait = plan_discovery(OWNER, "llama", gang(4, ready=0), ObservedDiscovery(), 100.0)
    service = applied(actions, "services")["llama"]
    assert service["spec"] == {"clusterIP": "None", "type": "ClusterIP"}
    assert service["metadata"]["ownerReferences"][0]["uid"] == "u-1"
    assert len(actions) == 1
    assert wait is None


def test_slice_carries_the_labels_that_dns_and_proxies_look_at() -> None:
    actions, _ = plan_discovery(OWNER, "llama", gang(2), ObservedDiscovery(OURS), 100.0)
    manifest = applied(actions, "endpointslices")["llama-ipv4-0"]
    labels = manifest["metadata"]["labels"]
    assert labels["kubernetes.io/service-name"] == "llama"
    assert labels["endpointslice.kubernetes.io/managed-by"] == "drumline.dev"
    assert labels["service.kubernetes.io/headless"] == ""
    assert manifest["addressType"] == "IPv4"
    assert manifest["endpoints"][1] == {
        "addresses": ["10.0.1.1"],
        "hostname": "llama-0-1",
        "conditions": {"ready": True},
    }


def test_somebody_elses_service_stops_everything() -> None:
    observed = ObservedDiscovery(ObservedService(ours=False, owner="Deployment/web"))
    assert plan_discovery(OWNER, "llama", gang(4), observed, 100.0) == ((), None)


def test_rank_0_is_published_the_moment_it_has_an_address() -> None:
    observed = ObservedDiscovery(OURS, {"llama-ipv4-0": ()}, last_written_at=99.9)
    actions, wait = plan_discovery(OWNER, "llama", gang(4, ready=1), observed, 100.0)
    assert content(applied(actions, "endpointslices")["llama-ipv4-0"]) == (("llama-0-0", ("10.0.0.1",)),)
    assert wait is None


def test_the_rest_is_published_at_most_once_a_second() -> None:
    first, _ = plan_discovery(OWNER, "llama", gang(4, ready=1), ObservedDiscovery(OURS), 100.0)
    observed = published(first, 100.0)
    actions, wait = plan_discovery(OWNER, "llama", gang(4, ready=3), observed, 100.25)
    assert actions == ()
    assert wait == 0.75
    actions, wait = plan_discovery(OWNER, "llama", gang(4, ready=3), observed, 101.0)
    assert len(content(applied(actions, "endpointslices")["llama-ipv4-0"])) == 3
    assert wait is None


def test_while_pods_are_coming_the_rest_waits_three_seconds() -> None:
    observed = published(
        plan_discovery(OWNER, "llama", gang(4, ready=1), ObservedDiscovery(OURS), 100.0)[0], 100.0
    )
    assert plan_discovery(OWNER, "llama", gang(4, ready=3), observed, 101.5, coming=[3]) == ((), 1.5)
    assert len(plan_discovery(OWNER, "llama", gang(4, ready=3), observed, 103.0, coming=[3])[0]) == 1
    whole, wait = plan_discovery(OWNER, "llama", gang(4), observed, 101.5)
    assert (len(content(applied(whole, "endpointslices")["llama-ipv4-0"])), wait) == (4, None)


def test_nobody_is_published_before_rank_0_while_it_is_coming() -> None:
    others = [Endpoint("llama-0-0"), *gang(4)[1:]]
    empty = ObservedDiscovery(OURS)
    assert plan_discovery(OWNER, "llama", others, empty, 100.0, coming=[0]) == ((), None)
    assert len(plan_discovery(OWNER, "llama", others, empty, 100.0)[0]) == 1
    actions, _ = plan_discovery(OWNER, "llama", gang(4), empty, 100.0)
    assert len(content(applied(actions, "endpointslices")["llama-ipv4-0"])) == 4


def test_a_clock_that_jumped_back_delays_by_one_interval_only() -> None:
    first, _ = plan_discovery(OWNER, "llama", gang(4, ready=1), ObservedDiscovery(OURS), 100.0)
    assert plan_discovery(OWNER, "llama", gang(4), published(first, 100.0), 10.0) == ((), 1.0)


def test_what_is_published_already_is_not_written_again() -> None:
    first, _ = plan_discovery(OWNER, "llama", gang(4), ObservedDiscovery(OURS), 100.0)
    assert plan_discovery(OWNER, "llama", gang(4), published(first, 100.0), 200.0) == ((), None)


def test_slices_are_emptied_at_once_before_the_next_attempt() -> None:
    first, _ = plan_discovery(OWNER, "llama", gang(1500), ObservedDiscovery(OURS), 100.0)
    observed = published(first, 100.0)
    assert observed.published
    actions, wait = plan_discovery(OWNER, "llama", (), observed, 100.1)
    assert {n: content(m) for n, m in applied(actions, "endpointslices").items()} == {
        "llama-ipv4-0": (),
        "llama-ipv4-1": (),
    }
    assert wait is None
    assert not published(actions, 100.1).published


def test_a_new_member_touches_only_its_own_slice() -> None:
    first, _ = plan_discovery(OWNER, "llama", gang(2500, ready=2400), ObservedDiscovery(OURS), 100.0)
    observed = published(first, 100.0)
    assert [len(s) for _, s in sorted(observed.slices.items())] == [1000, 1000, 400]
    actions, _ = plan_discovery(OWNER, "llama", gang(2500, ready=2401), observed, 102.0)
    assert list(applied(actions, "endpointslices")) == ["llama-ipv4-2"]


def test_a_missing_member_does_not_move_the_others() -> None:
    members = gang(2000)
    first, _ = plan_discovery(OWNER, "llama", members, ObservedDiscovery(OURS), 100.0)
    members[5] = Endpoint("llama-0-5")
    actions, _ = plan_discovery(OWNER, "llama", members, published(first, 100.0), 102.0)
    assert list(applied(actions, "endpointslices")) == ["llama-ipv4-0"]
    assert len(content(applied(actions, "endpointslices")["llama-ipv4-0"])) == 999


def test_each_address_family_has_its_own_set() -> None:
    members = [Endpoint("llama-0-0", ("10.0.0.1", "fd00::1")), Endpoint("llama-0-1", ("fd00::2",))]
    actions, _ = plan_discovery(OWNER, "llama", members, ObservedDiscovery(OURS), 100.0)
    slices = applied(actions, "endpointslices")
    assert content(slices["llama-ipv4-0"]) == (("llama-0-0", ("10.0.0.1",)),)
    assert content(slices["llama-ipv6-0"]) == (("llama-0-0", ("fd00::1",)), ("llama-0-1", ("fd00::2",)))
    assert slices["llama-ipv6-0"]["addressType"] == "IPv6"


def test_kube_dns_gets_one_endpoints_object_with_rank_0_first() -> None:
    actions, _ = plan_discovery(OWNER, "llama", gang(1500), ObservedDiscovery(OURS), 100.0, mode="Endpoints")
    manifest = applied(actions, "endpoints")["llama"]
    addresses = manifest["subsets"][0]["addresses"]
    assert len(addresses) == 1000
    assert addresses[0] == {"ip": "10.0.0.1", "hostname": "llama-0-0"}
    assert manifest["metadata"]["labels"]["endpointslice.kubernetes.io/skip-mirror"] == "true"


def test_auto_writes_endpoints_only_where_kube_dns_serves() -> None:
    for kube_dns in (False, True):
        observed = ObservedDiscovery(OURS, kube_dns=kube_dns)
        actions, _ = plan_discovery(OWNER, "llama", gang(2), observed, 100.0)
        assert bool(applied(actions, "endpoints")) is kube_dns


def test_endpoints_object_is_emptied_too() -> None:
    observed = ObservedDiscovery(OURS, endpoints=(("llama-0-0", ("10.0.0.1",)),))
    actions, _ = plan_discovery(OWNER, "llama", (), observed, 100.0, mode="Endpoints")
    assert applied(actions, "endpoints")["llama"]["subsets"] == []


ADDRESS = (("llama-0-0", ("10.0.0.1",)),)


def test_auto_keeps_up_what_was_written_while_kube_dns_was_there() -> None:
    observed = ObservedDiscovery(OURS, endpoints=ADDRESS)
    actions, _ = plan_discovery(OWNER, "llama", gang(2), observed, 100.0)
    assert len(applied(actions, "endpoints")["llama"]["subsets"][0]["addresses"]) == 2
    actions, _ = plan_discovery(OWNER, "llama", (), observed, 100.0)
    assert applied(actions, "endpoints")["llama"]["subsets"] == []


def test_a_mode_without_endpoints_empties_what_an_earlier_mode_wrote() -> None:
    observed = ObservedDiscovery(OURS, endpoints=ADDRESS)
    actions, _ = plan_discovery(OWNER, "llama", gang(2), observed, 100.0, mode="EndpointSlice")
    assert applied(actions, "endpoints")["llama"]["subsets"] == []
    emptied = ObservedDiscovery(OURS, endpoints=())
    actions, _ = plan_discovery(OWNER, "llama", gang(2), emptied, 100.0, mode="EndpointSlice")
    assert applied(actions, "endpoints") == {}


def dns_pod(*containers: str, namespace: str = "kube-system", label: str = "kube-dns") -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": "dns", "labels": {"k8s-app": label}}
    return {"metadata": metadata, "spec": {"containers": [{"name": c} for c in containers]}}


def test_kube_dns_is_told_from_coredns_by_its_container() -> None:
    assert is_kube_dns(dns_pod("kubedns", "dnsmasq", "sidecar"))
    assert not is_kube_dns(dns_pod("coredns"))
    assert not is_kube_dns(dns_pod("kubedns", namespace="team"))
    assert not is_kube_dns(dns_pod("kubedns", label="node-local-dns"))
    assert not is_kube_dns({"metadata": {"namespace": "kube-system", "name": "dns"}, "spec": {}})
