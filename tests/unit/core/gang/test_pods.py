"""Building a gang's pods: who wins, where the pin goes, what order variables stand in."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.core.gang.names import Owner
from drumline.core.gang.pods import (
    PodSettings,
    Role,
    kept_off,
    merged_env,
    pin,
    pinned,
    pod_priority_class,
    prepare,
)

OWNER = Owner("drumline.dev/v1alpha1", "TrainingJob", "ml", "llama", "uid-1")
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PIN = {"key": "metadata.name", "operator": "In", "values": ["n1"]}


def var(name: str, value: str = "x") -> dict[str, Any]:
    return {"name": name, "value": value}


def template(**spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "train", "image": "img"}], **spec}}


def render(role: Role, env: list[dict[str, Any]] | None = None, node: str | None = "n1") -> dict[str, Any]:
    prepared = prepare(OWNER, role, PodSettings())
    return prepared.render("llama-1-0-0", "llama-0-0", {"drumline.dev/rank": "0"}, env or [], node)


def role(manifest: dict[str, Any] | None = None, **fields: Any) -> Role:
    return Role(template=manifest or template(), labels={"drumline.dev/job": "llama"}, **fields)


def terms(affinity: dict[str, Any]) -> list[dict[str, Any]]:
    return affinity["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]


class TestKeptOff:
    def test_every_alternative_is_narrowed_and_others_are_only_preferred(self) -> None:
        zone = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
        affinity = {"podAffinity": {}, "nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [zone, {}]}}}
        found = kept_off(affinity, [("n1", True), ("n2", False), ("n3", True)])
        never = [{"key": "metadata.name", "operator": "NotIn", "values": [n]} for n in ("n1", "n3")]
        assert terms(found) == [{**zone, "matchFields": never}, {}]
        assert found["podAffinity"] == {}
        seldom = found["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        assert [s["preference"]["matchFields"][0]["values"] for s in seldom] == [["n2"]]
        assert "required" not in str(kept_off(None, [("n1", False)]))


class TestPin:
    def test_without_affinity_makes_one_term(self) -> None:
        assert terms(pinned(None, "n1")) == [{"matchFields": [PIN]}]
        assert terms(pinned({}, "n1")) == [{"matchFields": [PIN]}]

    def test_every_alternative_gets_the_pin(self) -> None:
        zone_a = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
        zone_b = {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n2"]}]}
        affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [zone_a, zone_b]}}}
        assert terms(pinned(affinity, "n1")) == [
            {**zone_a, "matchFields": [PIN]},
            {"matchFields": [*zone_b["matchFields"], PIN]},
        ]

    def test_a_term_that_matches_no_node_goes_on_matching_none(self) -> None:
        affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{}, {"matchExpressions": []}]}}}
        assert terms(pinned(affinity, "n1")) == [{}, {"matchExpressions": []}]

    def test_other_affinity_stays(self) -> None:
        preferred = [{"weight": 1, "preference": {}}]
        affinity = {
            "podAffinity": {"x": 1},
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred},
        }
        result = pinned(affinity, "n1")
        assert result["podAffinity"] == {"x": 1}
        assert result["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] == preferred
        assert terms(result) == [{"matchFields": [PIN]}]

    def test_pin_leaves_its_argument_alone(self) -> None:
        spec = {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchFields": [PIN]}]}}}}
        before = copy.deepcopy(spec)
        pin(spec, "n9")
        assert spec == before


class TestEnvironment:
    def test_ours_stand_first_so_that_references_expand(self) -> None:
        user = [var("ARGS", "--rank=$(RANK)")]
        assert [e["name"] for e in merged_env([var("RANK")], user)] == ["RANK", "ARGS"]

    def test_a_name_of_the_users_is_left_alone(self) -> None:
        assert merged_env([var("A", "ours"), var("B")], [var("A", "theirs")]) == [
            var("B"),
            var("A", "theirs"),
        ]

    @pytest.mark.parametrize("name", ["XLA_FLAGS", "LIBTPU_INIT_ARGS"])
    def test_flags_are_merged_ours_first(self, name: str) -> None:
        assert merged_env([var(name, "--a")], [var(name, "--b")]) == [var(name, "--a --b")]

    def test_flags_from_elsewhere_stand_alone(self) -> None:
        user = {"name": "XLA_FLAGS", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}
        assert merged_env([var("XLA_FLAGS", "--a")], [user]) == [user]

    def test_every_container_gets_it_and_each_keeps_its_own(self) -> None:
        manifest = template(
            initContainers=[{"name": "init", "env": [var("MODE", "init")]}],
            containers=[{"name": "a"}, {"name": "b", "env": [var("RANK", "mine")]}],
        )
        spec = render(role(manifest, env=[var("JOB", "llama")]), [var("RANK", "7")])["spec"]
        init, first, second = *spec["initContainers"], *spec["containers"]
        assert init["env"] == [var("RANK", "7"), var("JOB", "llama"), var("MODE", "init")]
        assert first["env"] == [var("RANK", "7"), var("JOB", "llama")]
        assert second["env"] == [var("JOB", "llama"), var("RANK", "mine")]


class TestMetadata:
    def test_the_gang_owns_the_pod(self) -> None:
        metadata = render(role())["metadata"]
        assert metadata["namespace"] == "ml"
        [reference] = metadata["ownerReferences"]
        assert (reference["uid"], reference["controller"]) == ("uid-1", True)

    def test_labels_of_our_prefix_are_ours_and_others_the_users(self) -> None:
        manifest = {
            "metadata": {
                "labels": {"drumline.dev/job": "forged", "app.kubernetes.io/name": "mine", "t": "1"}
            },
            **template(),
        }
        labels = {"drumline.dev/job": "llama", "app.kubernetes.io/name": "ours"}
        pod = render(Role(template=manifest, labels=labels))
        assert pod["metadata"]["labels"] == {
            "drumline.dev/job": "llama",
            "app.kubernetes.io/name": "mine",
            "t": "1",
            "drumline.dev/rank": "0",
        }

    def test_nobody_may_evict_the_pod_unless_the_user_says_so(self) -> None:
        safe, karpenter = "cluster-autoscaler.kubernetes.io/safe-to-evict", "karpenter.sh/do-not-disrupt"
        assert render(role())["metadata"]["annotations"] == {safe: "false", karpenter: "true"}
        manifest = {"metadata": {"annotations": {safe: "true"}}, **template()}
        assert render(role(manifest))["metadata"]["annotations"] == {safe: "true", karpenter: "true"}


class TestSpec:
    def test_what_makes_a_gang_is_ours(self) -> None:
        spec = render(role(template(priorityClassName="high"), subdomain="llama"))["spec"]
        assert spec["restartPolicy"] == "Never"
        assert spec["priorityClassName"] == "drumline-worker"
        assert (spec["hostname"], spec["subdomain"]) == ("llama-0-0", "llama")

    @pytest.mark.parametrize(
        ("name", "policy", "expected"),
        [
            ("high", "Never", "high"),
            ("high", "PreemptLowerPriority", "drumline-worker"),
            ("high", None, "drumline-worker"),
            (None, None, "drumline-worker"),
        ],
    )
    def test_a_pod_never_preempts(self, name: str | None, policy: str | None, expected: str) -> None:
        assert pod_priority_class(name, policy) == expected

    def test_limit_goes_to_the_first_container(self) -> None:
        manifest = template(
            containers=[{"name": "a", "resources": {"requests": {"cpu": "1"}}}, {"name": "b"}]
        )
        first, second = render(role(manifest, limit=("nvidia.com/gpu", 8)))["spec"]["containers"]
        assert first["resources"] == {"requests": {"cpu": "1"}, "limits": {"nvidia.com/gpu": "8"}}
        assert "resources" not in second

    @pytest.mark.parametrize("kind", ["limits", "requests"])
    def test_a_users_own_limit_stands(self, kind: str) -> None:
        containers = [{"name": "a"}, {"name": "b", "resources": {kind: {"nvidia.com/gpu": 4}}}]
        rendered = render(role(template(containers=containers), limit=("nvidia.com/gpu", 8)))["spec"][
            "containers"
        ]
        assert "resources" not in rendered[0]
        assert rendered[1]["resources"] == {kind: {"nvidia.com/gpu": 4}}

    def test_tolerations_of_the_accelerator_and_of_a_lost_node(self) -> None:
        tolerations = render(role(tolerations=["nvidia.com/gpu"]))["spec"]["tolerations"]
        assert tolerations[0] == {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
        assert [(t["key"], t["effect"], t["tolerationSeconds"]) for t in tolerations[1:]] == [
            ("node.kubernetes.io/not-ready", "NoExecute", 30),
            ("node.kubernetes.io/unreachable", "NoExecute", 30),
        ]

    @pytest.mark.parametrize(
        "own",
        [
            {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "tolerationSeconds": 900},
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists"},
        ],
    )
    def test_a_users_toleration_stands(self, own: dict[str, Any]) -> None:
        tolerations = render(role(template(tolerations=[own])))["spec"]["tolerations"]
        assert [t for t in tolerations if t["key"] == "node.kubernetes.io/not-ready"] == [own]
        assert tolerations[1]["key"] == "node.kubernetes.io/unreachable"

    def test_tolerating_everything_needs_nothing_more(self) -> None:
        manifest = template(tolerations=[{"operator": "Exists"}])
        rendered = render(role(manifest, tolerations=["google.com/tpu"]))["spec"]["tolerations"]
        assert rendered == [{"operator": "Exists"}]

    def test_a_pod_may_stay_on_a_lost_node_for_ever(self) -> None:
        pod = prepare(OWNER, role(), PodSettings(node_loss_seconds=None)).render("p", "h", {}, [], None)
        assert [t["effect"] for t in pod["spec"]["tolerations"]] == ["NoExecute", "NoExecute"]
        assert all("tolerationSeconds" not in t for t in pod["spec"]["tolerations"])

    def test_a_role_may_have_its_pods_restarted_in_place(self) -> None:
        spec = render(role(template(restartPolicy="OnFailure"), restart_policy="Always"))["spec"]
        assert spec["restartPolicy"] == "Always"

    def test_gates_stand_beside_the_templates(self) -> None:
        own = [{"conditionType": "mine"}]
        gates = render(role(template(readinessGates=own), readiness_gates=["ours"]))["spec"]["readinessGates"]
        assert gates == [*own, {"conditionType": "ours"}]
        assert "readinessGates" not in render(role())["spec"]

    def test_a_users_node_selector_wins(self) -> None:
        manifest = template(nodeSelector={"zone": "a", "pool": "mine"})
        selector = render(role(manifest, node_selector={"pool": "ours", "chip": "h100"}))["spec"][
            "nodeSelector"
        ]
        assert selector == {"zone": "a", "pool": "mine", "chip": "h100"}

    def test_members_resolve_on_the_hosts_network(self) -> None:
        assert render(role(template(hostNetwork=True)))["spec"]["dnsPolicy"] == "ClusterFirstWithHostNet"
        assert render(role(template(hostNetwork=True, dnsPolicy="None")))["spec"]["dnsPolicy"] == "None"
        assert "dnsPolicy" not in render(role())["spec"]


NAMES = st.text("ABCDEFG_", min_size=1, max_size=3)
VARIABLES = st.lists(
    st.builds(var, NAMES, st.text("xyz$()", max_size=6)), max_size=5, unique_by=lambda e: e["name"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)
CONTAINERS = st.lists(
    st.builds(
        lambda extra, env: {**extra, "name": "c", "env": env},
        st.dictionaries(
            st.sampled_from(["image", "command", "volumeMounts", "unknownField"]), JSON, max_size=3
        ),
        VARIABLES,
    ),
    min_size=1,
    max_size=3,
)
EXTRA = st.dictionaries(st.sampled_from(["volumes", "securityContext", "futureField", "schedulerName"]), JSON)
RANKED = st.lists(st.builds(var, NAMES), max_size=4, unique_by=lambda e: e["name"])


@given(CONTAINERS, EXTRA, VARIABLES, RANKED, st.none() | st.just("n1"))
def test_rendering_loses_nothing_of_the_users(
    containers: list[dict[str, Any]],
    extra: dict[str, Any],
    shared: list[dict[str, Any]],
    ranked: list[dict[str, Any]],
    node: str | None,
) -> None:
    manifest = {"spec": {**extra, "containers": containers}}
    before = copy.deepcopy(manifest)
    pod = render(role(manifest, env=shared), ranked, node)
    assert manifest == before, "the template is not to be changed"
    assert pod == render(role(manifest, env=shared), ranked, node), "the same input gives the same pod"
    assert {key: pod["spec"][key] for key in extra} == extra
    for original, rendered in zip(containers, pod["spec"]["containers"], strict=True):
        assert {k: v for k, v in rendered.items() if k != "env"} == {
            k: v for k, v in original.items() if k != "env"
        }
        assert rendered["env"][len(rendered["env"]) - len(original["env"]) :] == original["env"]
        names = [e["name"] for e in rendered["env"]]
        own = {e["name"] for e in original["env"]}
        ours = {e["name"] for e in [*shared, *ranked]}
        assert set(names) == own | ours
        assert all(names.count(name) == 1 for name in own), "a user's variable stands once"
