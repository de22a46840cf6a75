"""Who begins, who waits, and that nobody waits for ever."""

from __future__ import annotations

from dataclasses import replace

from drumline.api.reasons import Reason
from drumline.core.gang.admission import AdmissionRound, Undecided, admit
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.types import GangRequest, Placement, Refusal
from tests.builders import capacity, free_gpus, gang, gpu_block, helper, node, pod, tpu_gang, tpu_pool

WAIT = 300.0


def decide(state: Capacity, *pending: GangRequest, now: float = 0.0) -> AdmissionRound:
    return admit(pending, state, now, WAIT)


def names(result: AdmissionRound) -> list[str]:
    return [uid for uid, _ in result.granted]


def test_two_gangs_of_1500_on_2048_gpus_run_one_after_the_other() -> None:
    state = capacity(*(gpu_block(f"b{b}", 32) for b in range(8)))
    first, second = (gang(uid, 1500, gpus=1, queued_at=at) for uid, at in (("x", 1.0), ("y", 2.0)))
    result = decide(state, second, first)
    assert names(result) == ["x"]
    assert len(result.granted[0][1].nodes) == 1500
    assert result.refused["y"].message.startswith("needs 1500 × nvidia-h100-80gb; 548 free")
    assert sum(free_gpus(state).values()) == 548
    state.release("x")
    assert names(decide(state, second)) == ["y"]


def test_order_is_priority_then_time_then_uid() -> None:
    state = capacity(gpu_block("a", 9))
    pending = [
        gang("late", queued_at=9.0),
        gang("b", queued_at=5.0),
        gang("a", queued_at=5.0),
        gang("high", queued_at=99.0, priority=10),
    ]
    assert names(decide(state, *pending)) == ["high", "a", "b", "late"]


def test_what_one_gang_got_the_next_does_not_get() -> None:
    state = capacity(gpu_block("a", 4))
    result = decide(state, *(gang(f"g{i}", 2) for i in range(3)))
    assert names(result) == ["g0", "g1"]
    used = [n for _, placement in result.granted for n in placement.nodes]
    assert len(set(used)) == 4


def test_smaller_gangs_pass_a_head_that_has_not_waited_long() -> None:
    state = capacity(gpu_block("a", 4), pods=[pod("p", on="a-host-0", gpus=8, gang="other")])
    result = decide(state, gang("head", 4, queued_at=0.0), gang("small", queued_at=1.0), now=299.0)
    assert names(result) == ["small"]
    assert result.requeue_after == 1.0
    assert not result.targets


def test_a_head_that_has_waited_keeps_its_nodes() -> None:
    state = capacity(gpu_block("a", 4), pods=[pod("p", on="a-host-0", gpus=8, gang="other")])
    result = decide(state, gang("head", 4, queued_at=0.0), gang("small", queued_at=1.0), now=300.0)
    assert names(result) == []
    assert result.requeue_after is None
    assert result.targets["head"] == {f"a-host-{i}" for i in range(4)}
    assert result.refused["head"].message == (
        "needs 32 × nvidia-h100-80gb; 24 free (3/4 nodes usable: 1 insufficient nvidia.com/gpu); "
        "first in line, with 4 of the nodes it can use kept for it"
    )
    assert result.refused["small"].reason == Reason.HEAD_OF_QUEUE_RESERVED
    assert result.refused["small"].message == (
        "needs 8 × nvidia-h100-80gb; 0 free, 24 more on 3 nodes kept for a gang ahead in the queue"
    )
    assert state.now.withheld == frozenset()


def test_nodes_outside_the_target_stay_open() -> None:
    busy = [pod(f"p{i}", on=f"a-host-{i}", gpus=8, gang="other") for i in range(4)]
    state = capacity(gpu_block("a", 6), gpu_block("b", 1), pods=busy)
    head = gang("head", 5, queued_at=0.0, required="block")
    result = decide(state, head, gang("s1", queued_at=1.0), gang("s2", queued_at=2.0), now=400.0)
    assert names(result) == ["s1"]
    assert result.granted[0][1].nodes == ("b-host-0",)
    assert {"a-host-4", "a-host-5"} < result.targets["head"]


def test_the_target_is_where_most_is_free_already() -> None:
    busy = [pod(f"p{i}", on=f"a-host-{i}", gpus=8, gang="other") for i in range(3)]
    state = capacity(
        gpu_block("a", 4), gpu_block("b", 4), pods=[*busy, pod("q", on="b-host-2", gpus=8, gang="o")]
    )
    result = decide(state, gang("head", 4, required="block"), now=400.0)
    assert result.targets["head"] == {f"b-host-{i}" for i in range(4)}


def test_a_gang_that_can_never_fit_keeps_nobody_waiting() -> None:
    state = capacity(gpu_block("a", 2), pods=[pod("p", on="a-host-0", gpus=8, gang="other")])
    result = decide(state, gang("huge", 3, priority=9), gang("small"), now=9999.0)
    assert names(result) == ["small"]
    assert result.refused["huge"].message.startswith("needs 24 × nvidia-h100-80gb; 16 free")
    assert result.refused["huge"].message.endswith("even if every other gang ended")
    assert not result.targets


def test_pods_of_no_gang_are_taken_for_lasting() -> None:
    state = capacity(gpu_block("a", 2), pods=[pod("alien", on="a-host-0", gpus=8)])
    result = decide(state, gang("head", 2), gang("small"), now=9999.0)
    assert names(result) == ["small"]


def test_each_kind_of_accelerator_has_its_own_head() -> None:
    pods = [
        pod("p", on="a-host-0", gpus=8, gang="other"),
        pod("t", on="p1-w0", requests=(("google.com/tpu", 4), ("pods", 1)), gang="x"),
    ]
    state = capacity(gpu_block("a", 2), tpu_pool("p1", 2), pods=pods)
    tpu, gpu = tpu_gang(hosts=2), gang("head", 2)
    result = decide(state, tpu, gpu, gang("small", queued_at=1.0), now=400.0)
    assert names(result) == []
    assert result.targets == {"t": {"p1-w0", "p1-w1"}, "head": {"a-host-0", "a-host-1"}}


def test_a_target_covers_helpers() -> None:
    busy = pod("p", on="a-host-0", gpus=8, cpu=64, gang="other")
    state = capacity(gpu_block("a", 1), node("cpu", cpu=4), pods=[busy])
    head = gang("head", worker=gang().worker, helpers=(helper("x", cpu=64),))
    assert not decide(state, head, now=400.0).targets
    head = replace(head, helpers=(helper("x", cpu=4),))
    small = gang("cpu", gpus=0, accelerator="", queued_at=1.0)
    assert decide(state, head, small, now=400.0).targets["head"] >= {"a-host-0"}


def test_the_head_takes_its_nodes_when_the_last_one_frees_up() -> None:
    state = capacity(gpu_block("a", 3), pods=[pod("p", on="a-host-0", gpus=8, gang="other")])
    pending = [gang("head", 3), gang("small", queued_at=1.0)]
    assert names(decide(state, *pending, now=400.0)) == []
    state.remove_pod("team", "p")
    assert names(decide(state, *pending, now=401.0)) == ["head"]


def test_a_gang_that_is_not_allowed_takes_nothing() -> None:
    state = capacity(gpu_block("a", 1))
    veto = Refusal("NamespaceQuotaExceeded", "no room")
    result = admit(
        [gang("a"), gang("b")], state, 0.0, 300.0, lambda request: veto if request.uid == "a" else None
    )
    assert [uid for uid, _ in result.granted] == ["b"]
    assert result.refused == {"a": veto}
    assert not state.reserved("a")


def test_nobody_passes_a_gang_of_which_it_cannot_be_told_whether_it_may_begin() -> None:
    def allowed(request: GangRequest) -> Refusal | None:
        if request.uid == "b":
            raise Undecided
        return None

    state = capacity(gpu_block("a", 3))
    result = admit([gang(uid) for uid in "abc"], state, 0.0, 300.0, allowed)
    assert [uid for uid, _ in result.granted] == ["a"]
    assert [request.uid for request in result.undecided] == ["b", "c"]
    assert not result.refused
    assert not state.reserved("b")


def test_a_gang_that_asks_for_spares_only_keeps_what_it_has_until_it_begins() -> None:
    state = capacity(gpu_block("b", 3))
    asked = replace(gang("a", workers=1, spares=1), preferred_nodes={0: "gone"}, stays=True)
    result = decide(state, asked)
    assert not result.granted
    assert "stays where it is" in result.refused["a"].message
    assert not state.reserved("a")
    (granted,) = decide(state, replace(asked, stays=False)).granted
    stays = replace(asked, preferred_nodes={0: granted[1].nodes[0]})
    assert names(decide(state, stays)) == ["a"]


def test_what_a_gang_has_is_nobody_elses_before_it_begins_elsewhere() -> None:
    """Its status still names its old places: a leader that has to begin anew would give them back to it."""
    state = capacity(gpu_block("b", 2))
    (first, second) = sorted(state.nodes)
    moves = replace(gang("a", workers=1), excluded=frozenset({first}))
    state.reserve(moves, Placement((first,)))
    other = gang("z", workers=1)
    result = decide(state, moves, other)
    assert result.granted == (("a", Placement((second,))),)
    assert names(decide(state, other)) == []
    state.reserve(moves, Placement((second,)))
    assert decide(state, other).granted == (("z", Placement((first,))),)


def test_a_gang_pinned_to_no_node_needs_no_room_and_holds_none() -> None:
    state = capacity(gpu_block("a", 1))
    pinned, free = gang("first", workers=2), gang("second", workers=2, unpinned=True)
    answer = admit([pinned, free], state, 0.0, 300.0)
    assert list(answer.refused) == ["first"]
    assert answer.granted == (("second", Placement(("", ""))),)
    assert free_gpus(state) == {"a-host-0": 8}


def test_a_gang_pinned_to_no_node_is_granted_only_what_else_is_allowed() -> None:
    state = capacity(gpu_block("a", 1))
    veto = Refusal(Reason.NAMESPACE_QUOTA, "no")
    answer = admit([gang("g", unpinned=True)], state, 0.0, 300.0, lambda _: veto)
    assert answer.refused == {"g": veto}
