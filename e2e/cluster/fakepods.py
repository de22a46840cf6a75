"""Fake pods: what kwok makes of a pod on a fake node, told by the pod's annotations.

A pod on a fake node is Running and Ready after one write, runs for ever, and is gone as soon as it is deleted.
One with readiness gates is Ready while its containers are and all of its gates' conditions are True.
Annotations change that; all values are strings, as annotations are:

=====================================  ==========================================================================
``fake.drumline.dev/start-seconds``    N: the containers start N seconds after the pod was bound
``fake.drumline.dev/run-seconds``      N: the containers end N seconds after they started
``fake.drumline.dev/exit-code``        N: they end with this code (0 unless given), at once without run-seconds
``fake.drumline.dev/oom``              true: they end by being OOM-killed, at once without run-seconds
``fake.drumline.dev/never-ready``      true: Running, never Ready
``fake.drumline.dev/image-pull-fail``  true: Pending with ImagePullBackOff
``fake.drumline.dev/pod-ip``           where somebody plays the pod's program, who listens there
``fake.drumline.dev/hang-terminating`` true: once deleted, stays Terminating until it is deleted by force
``fake.drumline.dev/only-ranks``       3,17: the others count only where label ``drumline.dev/rank`` is listed
``fake.drumline.dev/only-attempts``    1: the others count only where ``drumline.dev/attempt`` is listed
=====================================  ==========================================================================

A gang's pods share one template, hence the last two. The first container gets the exit code or the OOM kill,
the others end with 0, and nothing is ever restarted in place: the pods behave as with ``restartPolicy: Never``.

How: each stage below has a selector in jq. ``_MODE`` names the one thing a pod is to do next, so that no two
stages ever select the same pod (kwok would toss a coin). Container ids carry the start in milliseconds,
because the API keeps times in whole seconds only, and a stage's delay is reckoned anew at every event.
"""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from e2e.cluster.nodes_machines import kubelet_conditions

PREFIX = "fake.drumline.dev/"

# $a: the annotations that count for this pod.
_COUNTING = """
def listed($names; $value):
  $names == null or any($names | split(",")[] | gsub("\\\\s"; ""); . == $value);
(.metadata.annotations // {}) as $all
| (.metadata.labels // {}) as $l
| (if listed($all["fake.drumline.dev/only-ranks"]; $l["drumline.dev/rank"])
     and listed($all["fake.drumline.dev/only-attempts"]; $l["drumline.dev/attempt"])
   then $all else {} end) as $a
| """
_MODE = """
if .metadata.deletionTimestamp != null then
  if $a["fake.drumline.dev/hang-terminating"] == "true" then "hang"
  elif .metadata.deletionGracePeriodSeconds == 0 then "going"
  else "delete" end
elif .status.phase == "Pending" and .status.startTime == null then
  if $a["fake.drumline.dev/image-pull-fail"] == "true" then "no-image"
  elif $a["fake.drumline.dev/never-ready"] == "true" then "start-unready"
  else "start" end
elif .status.phase == "Running" then
  [.status.conditions[]? | select(.status == "True") | .type] as $true
  | (.spec.readinessGates != null and ($true | index("ContainersReady")) != null) as $gated
  | (([.spec.readinessGates[]?.conditionType] - $true) == []) as $open
  | (($true | index("Ready")) != null) as $ready
  | if $gated and $open and ($ready | not) then "gate-open"
  elif $gated and ($open | not) and $ready then "gate-close"
  elif $a["fake.drumline.dev/oom"] == "true" or $a["fake.drumline.dev/exit-code"] != null
     or $a["fake.drumline.dev/run-seconds"] != null
  then "end" else "run" end
else "nothing" end
"""
_START_DELAY = _COUNTING + '($a["fake.drumline.dev/start-seconds"] // "0") + "s"'
_END_DELAY = """
((.metadata.annotations["fake.drumline.dev/run-seconds"] // "0" | tonumber) * 1000) as $run
| (.status.containerStatuses[0].containerID | ltrimstr("fake://") | tonumber) as $started
| ([0, $started + $run - now * 1000] | max | floor | tostring) + "ms"
"""

_START_TIME = '"startTime": {{ $now | Quote }},'
_ADDRESSES = """
{{ with NodeIPsWith .spec.nodeName }}
"hostIP": {{ index . 0 | Quote }}, "hostIPs": [{"ip": {{ index . 0 | Quote }}}],
{{ end }}
{{ $told := "" }}
{{ if .metadata.annotations }}{{ $told = or (index .metadata.annotations "fake.drumline.dev/pod-ip") "" }}{{ end }}
{{ $host := or .spec.hostNetwork false }}
{{ if $told }}
"podIP": {{ $told | Quote }}, "podIPs": [{"ip": {{ $told | Quote }}}],
{{ else }}{{ with PodIPsWith .spec.nodeName $host .metadata.uid .metadata.name .metadata.namespace }}
"podIP": {{ index . 0 | Quote }}, "podIPs": [{"ip": {{ index . 0 | Quote }}}],
{{ end }}{{ end }}
"""
_INIT_CONTAINERS = """
{{ if .spec.initContainers }}
"initContainerStatuses": [
{{ range $i, $c := .spec.initContainers }}{{ if $i }},{{ end }}
  {"name": {{ $c.name | Quote }}, "image": {{ $c.image | Quote }}, "imageID": "", "containerID": "fake://{{ $ms }}",
   "restartCount": 0, "ready": true,
   {{ if eq (or $c.restartPolicy "") "Always" }}
   "started": true, "state": {"running": {"startedAt": {{ $now | Quote }}}}
   {{ else }}
   "started": false, "state": {"terminated": {"exitCode": 0, "reason": "Completed",
     "startedAt": {{ $now | Quote }}, "finishedAt": {{ $now | Quote }}, "containerID": "fake://{{ $ms }}"}}
   {{ end }}}
{{ end }}],
{{ end }}
"""
_HEAD = """
{{ $now := Now }}{{ $ms := now.UnixMilli }}{{ $root := . }}
"""
_RUNNING = """
"containerStatuses": [
{{ range $i, $c := .spec.containers }}{{ if $i }},{{ end }}
  {"name": {{ $c.name | Quote }}, "image": {{ $c.image | Quote }}, "imageID": "", "containerID": "fake://{{ $ms }}",
   "restartCount": 0, "ready": READY, "started": true, "state": {"running": {"startedAt": {{ $now | Quote }}}}}
{{ end }}]
"""
_WAITING = """
"containerStatuses": [
{{ range $i, $c := .spec.containers }}{{ if $i }},{{ end }}
  {"name": {{ $c.name | Quote }}, "image": {{ $c.image | Quote }}, "imageID": "", "restartCount": 0,
   "ready": false, "started": false, "state": {"waiting": {"reason": "ImagePullBackOff",
     "message": {{ printf "Back-off pulling image \\"%s\\"" $c.image | Quote }}}}}
{{ end }}]
"""
_END_CODE = """
{{ $code := index .metadata.annotations "fake.drumline.dev/exit-code" | int }}{{ $reason := "Error" }}
{{ if eq (or (index .metadata.annotations "fake.drumline.dev/oom") "") "true" }}
{{ $code = 137 }}{{ $reason = "OOMKilled" }}
{{ end }}
"""
_TERMINATED = """
"containerStatuses": [
{{ range $i, $c := .spec.containers }}{{ if $i }},{{ end }}
  {{ $old := index $root.status.containerStatuses $i }}
  {"name": {{ $c.name | Quote }}, "image": {{ $c.image | Quote }}, "imageID": "",
   "containerID": {{ $old.containerID | Quote }}, "restartCount": 0, "ready": false, "started": false,
   "state": {"terminated": {
     {{ if and (eq $i 0) (ne $code 0) }}
     "exitCode": {{ $code }}, "reason": {{ $reason | Quote }},
     {{ else }}
     "exitCode": 0, "reason": "Completed",
     {{ end }}
     "startedAt": {{ $old.state.running.startedAt | Quote }}, "finishedAt": {{ $now | Quote }},
     "containerID": {{ $old.containerID | Quote }}}}}
{{ end }}]
"""


_GATE_REASON = "ReadinessGatesNotReady"
_GATED = (".spec.readinessGates != null", "true")


def kwok_config() -> str:
    """The stages of fake nodes and pods, as YAML documents for ``kwok --config``."""
    pending, running = (".status.phase", "Pending"), (".status.phase", "Running")
    stages = [
        _node_ready(),
        _stage("start", pending, _started(ready=True), delay=_START_DELAY),
        _stage("start-unready", _is("never-ready"), _started(ready=False), delay=_START_DELAY),
        _stage("no-image", _is("image-pull-fail"), _unpullable()),
        _stage("gate-open", _GATED, _gate(open_=True)),
        _stage("gate-close", _GATED, _gate(open_=False)),
        _stage("end", running, _ended(), delay=_END_DELAY),
        _stage("delete", (".metadata.deletionTimestamp != null", "true"), None),
    ]
    return yaml.safe_dump_all(stages, sort_keys=False)


def _is(annotation: str) -> tuple[str, str]:
    return f'.metadata.annotations["{PREFIX}{annotation}"]', "true"


def _stage(mode: str, gate: tuple[str, str], status: str | None, delay: str | None = None) -> dict[str, Any]:
    """A stage for pods in this mode. ``gate`` (jq, value) must hold too: it is cheap, and asked first."""
    wanted = (gate, (_COUNTING + _MODE, mode))
    spec = {
        "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
        "selector": {"matchExpressions": [_matches(key, value) for key, value in wanted]},
        **({"delay": {"durationFrom": {"jq": {"expression": delay}}}} if delay else {}),
        "steps": [{"delete": True} if status is None else _patch_status(status)],
    }
    return _object(f"pod-{mode}", spec)


def _matches(key: str, value: str, operator: str = "In") -> dict[str, Any]:
    return {"jq": {"key": key, "operator": operator, "values": [value]}}


def _patch_status(template: str) -> dict[str, Any]:
    # The version makes the API server refuse a patch that was made from a pod as it no longer is.
    version = '{"metadata": {"resourceVersion": {{ .metadata.resourceVersion | Quote }}}, "status": '
    return {"patch": {"subresource": "status", "template": f"{version}{template}}}"}}


def _node_ready() -> dict[str, Any]:
    ready = '.status.conditions.[] | select(.type == "Ready") | .status'
    now = '"{{ Now }}"'
    times = f', "lastHeartbeatTime": {now}, "lastTransitionTime": {now}}}'
    conditions = ",\n".join(json.dumps(condition)[:-1] + times for condition in kubelet_conditions())
    template = f'{{"conditions": [{conditions}]}}'
    spec = {
        "resourceRef": {"apiGroup": "v1", "kind": "Node"},
        "selector": {"matchExpressions": [_matches(ready, "True", "NotIn")]},
        "steps": [_patch_status(template)],
    }
    return _object("node-ready", spec)


def _object(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    head = {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}}
    return {**head, "spec": dict(spec)}


def _started(*, ready: bool) -> str:
    reason = "" if ready else "ContainersNotReady"
    conditions = {
        "PodReadyToStartContainers": (True, ""),
        "Initialized": (True, ""),
        "ContainersReady": (ready, reason),
        "Ready": (ready, reason),
    }
    containers = _RUNNING.replace("READY", "true" if ready else "false")
    status = _status("Running", conditions, _START_TIME + _ADDRESSES + _INIT_CONTAINERS + containers)
    if not ready:
        return status
    gated = _condition("Ready", False, _GATE_REASON)
    plain = _condition("Ready", True, "")
    return status.replace(
        plain, f"{{{{ if .spec.readinessGates }}}}{gated}{{{{ else }}}}{plain}{{{{ end }}}}"
    )


def _gate(*, open_: bool) -> str:
    """A pod whose gates have all opened, or of which one has closed."""
    condition = _condition("Ready", open_, "" if open_ else _GATE_REASON)
    return f'{{{{ $now := Now }}}}{{"conditions": [{condition}]}}'


def _unpullable() -> str:
    conditions = {
        "PodReadyToStartContainers": (True, ""),
        "Initialized": (True, ""),
        "ContainersReady": (False, "ContainersNotReady"),
        "Ready": (False, "ContainersNotReady"),
    }
    return _status("Pending", conditions, _START_TIME + _ADDRESSES + _INIT_CONTAINERS + _WAITING)


def _ended() -> str:
    outcome = "{{ if eq $code 0 }}PodCompleted{{ else }}PodFailed{{ end }}"
    conditions = {
        "PodReadyToStartContainers": (False, ""),
        "ContainersReady": (False, outcome),
        "Ready": (False, outcome),
    }
    phase = "{{ if eq $code 0 }}Succeeded{{ else }}Failed{{ end }}"
    return _END_CODE + _status(phase, conditions, _TERMINATED)


def _status(phase: str, conditions: Mapping[str, tuple[bool, str]], rest: str) -> str:
    rendered = ",\n".join(_condition(name, *value) for name, value in conditions.items())
    return f'{_HEAD}{{"phase": "{phase}", "conditions": [{rendered}],\n{rest}}}'


def _condition(name: str, true: bool, reason: str) -> str:
    status = "True" if true else "False"
    said = f'"reason": "{reason}", ' if reason else ""
    return f'{{"type": "{name}", "status": "{status}", {said}"lastTransitionTime": {{{{ $now | Quote }}}}}}'
