"""What reporting adds to a worker: variables, the volume with token and CA, and the launcher.

Nothing is added where nobody would use it: without a report URL, and for jobs whose progress the operator
looks up itself (`log`, `scrape`) or not at all (`none`). `DRUMLINE_CHECKPOINT_PATH` is the user's own word and
always there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from drumline.api import mounts
from drumline.api.failure import FailureAction, RestartStrategy
from drumline.api.progress import Progress, ProgressSource
from drumline.api.report import AUDIENCE
from drumline.api.training import TrainingJobSpec
from drumline.core.training import launcher
from drumline.core.training.environment_facts import EnvVar, variables

Template = Mapping[str, Any]  # v1.PodTemplateSpec

REPORTERS: Final = frozenset({ProgressSource.AUTO, ProgressSource.LAUNCHER, ProgressSource.REPORT})
LAUNCHED: Final = frozenset({ProgressSource.AUTO, ProgressSource.LAUNCHER})
# A launcher that was killed with its program, as when memory ran out, comes back in its pod (KEP-5307).
RESTART_WHEN_KILLED: Final[Mapping[str, Any]] = {
    "restartPolicy": "Never",
    "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [137]}}],
}


@dataclass(frozen=True, slots=True)
class Reporting:
    """Where workers report to, and the image that the launcher comes from; "" = there is none."""

    url: str = ""
    launcher_image: str = ""
    restarts: bool = False  # a container may be restarted in its pod, by rules of its own


def reports(spec: TrainingJobSpec, reporting: Reporting) -> bool:
    """Whether workers get what it takes to report."""
    return bool(reporting.url) and spec.progress.source in REPORTERS


def launcher_refusal(spec: TrainingJobSpec, reporting: Reporting) -> str:
    """Why a valid job that is to have the launcher has it not; "" when it has it, or is not to have it."""
    if spec.progress.source not in LAUNCHED:
        return ""
    if not (reporting.url and reporting.launcher_image):
        if spec.progress.source is ProgressSource.AUTO:
            return ""
        missing = "--launcher-image" if reporting.url else "--report-url"
        return f"the operator was started without {missing}"
    return launcher.refusal(spec.template)


def restarts_in_place(spec: TrainingJobSpec) -> bool:
    """Whether a failure may end in a restart in place, if the launcher runs."""
    policy = spec.failure_policy
    return policy.restart_strategy is RestartStrategy.IN_PLACE or any(
        rule.action is FailureAction.RESTART_IN_PLACE for rule in policy.rules
    )


def barrier_refusal(spec: TrainingJobSpec, reporting: Reporting) -> str:
    """Why processes of a valid job can't be held and started again in their pods; "" when they can."""
    if spec.progress.source not in LAUNCHED:
        return f"progress.source is {spec.progress.source.value}; the launcher runs with auto and launcher"
    if not (reporting.url and reporting.launcher_image):
        return "the operator was started without a launcher"
    return launcher.refusal(spec.template)


def launches(spec: TrainingJobSpec, reporting: Reporting) -> bool:
    """Whether the launcher runs a valid job's command."""
    wanted = spec.progress.source in LAUNCHED and reporting.url and reporting.launcher_image
    return bool(wanted) and not launcher.refusal(spec.template)


def progress_env(spec: TrainingJobSpec, reporting: Reporting, chips: int) -> list[EnvVar]:
    """Variables of every worker; `chips` are those of the whole job."""
    return variables(list(_variables(spec, reporting, chips)))


def instrumented(spec: TrainingJobSpec, reporting: Reporting) -> Template:
    """The workers' template of a valid job with volumes, mounts and the launcher's command in it."""
    if not reports(spec, reporting):
        return spec.template
    pod = dict(spec.template["spec"])
    for kind in ("initContainers", "containers"):
        if pod.get(kind):
            pod[kind] = [_mounted(container, _REPORT_MOUNT) for container in pod[kind]]
    pod["volumes"] = [*(pod.get("volumes") or ()), _REPORT_VOLUME]
    if launches(spec, reporting):
        pod["volumes"].append(_LAUNCHER_VOLUME)
        pod["containers"][0] = _behind_launcher(
            pod["containers"][0], launcher.command_of(spec.template) or []
        )
        if reporting.restarts and restarts_in_place(spec) and "restartPolicy" not in pod["containers"][0]:
            pod["containers"][0] |= RESTART_WHEN_KILLED
    return {**spec.template, "spec": pod}


def leading_containers(spec: TrainingJobSpec, reporting: Reporting) -> tuple[launcher.Container, ...]:
    """Init containers of ours, which run before the user's."""
    if not launches(spec, reporting):
        return ()
    return (launcher.init_container(reporting.launcher_image, spec.template),)


def _variables(spec: TrainingJobSpec, reporting: Reporting, chips: int) -> Iterator[tuple[str, object]]:
    if spec.checkpoint is not None and spec.checkpoint.path is not None:
        yield "DRUMLINE_CHECKPOINT_PATH", spec.checkpoint.path
    if reports(spec, reporting):
        yield "DRUMLINE_REPORT_URL", reporting.url
        yield "DRUMLINE_REPORT_TOKEN_FILE", f"{mounts.REPORT_PATH}/{mounts.TOKEN_FILE}"
        yield "DRUMLINE_REPORT_CA_FILE", f"{mounts.REPORT_PATH}/{mounts.CA_FILE}"
        yield "DRUMLINE_CHIPS", chips
        yield "DRUMLINE_PROGRESS", _said(spec.progress)
    if restarts_in_place(spec) and not barrier_refusal(spec, reporting):
        yield "DRUMLINE_BARRIER", 1


def _said(progress: Progress) -> str:
    """What the user said, as JSON in which no `$` is left for the kubelet to expand."""
    values = {
        "source": progress.source.value,
        "preset": progress.preset.value,
        "pattern": progress.pattern,
        "commitPattern": progress.commit_pattern,
    }
    given = {name: value for name, value in values.items() if value is not None}
    return json.dumps(given, separators=(",", ":")).replace("$", "\\u0024")


def _mounted(container: Mapping[str, Any], mount: Mapping[str, Any]) -> dict[str, Any]:
    others = container.get("volumeMounts") or []
    if not isinstance(others, list):
        return dict(container)  # the API server says what is wrong with it
    return {**container, "volumeMounts": [*others, mount]}


def _behind_launcher(container: Mapping[str, Any], command: list[str]) -> dict[str, Any]:
    return {**_mounted(container, _LAUNCHER_MOUNT), "command": launcher.launched(command)}


_REPORT_MOUNT: Final = {"name": mounts.REPORT_VOLUME, "mountPath": mounts.REPORT_PATH, "readOnly": True}
_LAUNCHER_MOUNT: Final = {"name": mounts.LAUNCHER_VOLUME, "mountPath": mounts.LAUNCHER_PATH, "readOnly": True}
_LAUNCHER_VOLUME: Final[Mapping[str, Any]] = {"name": mounts.LAUNCHER_VOLUME, "emptyDir": {}}
_REPORT_VOLUME: Final[Mapping[str, Any]] = {
    "name": mounts.REPORT_VOLUME,
    "projected": {
        "sources": [
            {
                "serviceAccountToken": {
                    "audience": AUDIENCE,
                    "expirationSeconds": mounts.TOKEN_SECONDS,
                    "path": mounts.TOKEN_FILE,
                }
            },
            {
                "configMap": {
                    "name": mounts.CA_CONFIG_MAP,
                    "items": [{"key": mounts.CA_FILE, "path": mounts.CA_FILE}],
                    "optional": True,
                }
            },
        ]
    },
}
