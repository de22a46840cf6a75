"""A job that is over and whose gang another scheduler or queue had let in."""

from dataclasses import replace

from drumline.api.reasons import ConditionType
from drumline.core.gang.backends.base import Found
from drumline.core.gang.backends.kueue import WORKLOAD, Kueue
from drumline.core.gang.backends.registry import Choice
from drumline.core.gang.plan import Delete
from drumline.core.training.decide import decide
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW, UID

_OWNERS = [{"kind": "TrainingJob", "name": "job", "uid": UID}]
_METADATA = {"name": "job-1", "namespace": "ns", "uid": "uid-w", "ownerReferences": _OWNERS}
_WORKLOAD = Found(WORKLOAD, "uid-w", {"kind": "Workload", "metadata": _METADATA})


def test_with_its_workload_the_logs_of_pods_that_ended_would_go():
    seen = jobs.running(jobs.job(jobs.spec(failurePolicy={"maxRestarts": 0})))
    seen = replace(seen, backend=Choice("kueue", Kueue()), groups=(_WORKLOAD,))
    seen = jobs.settled(jobs.with_pod(seen, 0, jobs.failed), NOW + 1)
    assert jobs.reason(seen.status, ConditionType.FAILED)[0] == "True"
    actions = [action for stage in decide(seen, NOW + 3600).actions for action in stage]
    assert {action.resource for action in actions if isinstance(action, Delete)} == {"pods"}
