"""What reporting adds to workers, and to which jobs it adds nothing."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from drumline.api.catalog import Catalog
from drumline.api.training import TrainingJobSpec
from drumline.core.gang.projection_shape import shape_of
from drumline.core.training.observation import JobMeta
from drumline.core.training.progress_render import Reporting
from drumline.core.training.render import PreparedGang, RenderSettings, prepare_gang

JOB = JobMeta("ml", "llama", "uid-1", 1, "1", 0.0)
URL = "https://drumline-ingest.ops.svc:8443/v1/report"
NOTHING = Reporting()
URL_ONLY = Reporting(URL)
ALL = Reporting(URL, "drumline/operator:1")
HELPERS = [{"name": "loader", "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}]
TRAIN = {"name": "train", "image": "img", "command": ["python", "train.py"], "args": ["--lr", "1"]}


def gang(reporting: Reporting, pod: dict[str, Any] | None = None, **fields: Any) -> PreparedGang:
    manifest = {
        "accelerator": {"type": "nvidia-h100-80gb"},
        "workersPerSlice": 2,
        "template": {"spec": {"containers": [TRAIN], **(pod or {})}},
        "helpers": HELPERS,
        **fields,
    }
    before = copy.deepcopy(manifest)
    spec = TrainingJobSpec.model_validate(manifest)
    made = prepare_gang(JOB, spec, Catalog.default(), 1, RenderSettings(reporting=reporting))
    assert manifest == before
    return made


def worker(reporting: Reporting, pod: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    spec: dict[str, Any] = gang(reporting, pod, **fields).worker(1, None)["spec"]
    return spec


def env(container: dict[str, Any]) -> dict[str, str]:
    return {e["name"]: e["value"] for e in container["env"]}


def mounts(container: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {m["mountPath"]: m for m in container.get("volumeMounts", [])}


@pytest.mark.parametrize(
    ("reporting", "source"),
    [(NOTHING, "auto"), (NOTHING, "launcher"), (ALL, "none"), (ALL, "log"), (ALL, "scrape")],
)
def test_nothing_is_added_that_nobody_uses(reporting: Reporting, source: str) -> None:
    progress = {"source": source}
    if source == "scrape":
        progress |= {"scrape": {"port": 9090, "step": "s"}}
    spec = worker(reporting, progress=progress)
    assert "volumes" not in spec
    assert "initContainers" not in spec
    [container] = spec["containers"]
    assert "volumeMounts" not in container
    assert container["command"] == TRAIN["command"]
    assert not {"DRUMLINE_REPORT_URL", "DRUMLINE_PROGRESS"} & env(container).keys()


@pytest.mark.parametrize("source", ["auto", "report", "launcher"])
def test_workers_get_a_token_and_the_ca(source: str) -> None:
    init = {"name": "fetch", "image": "img"}
    pod = {"containers": [TRAIN, {"name": "side", "image": "img"}], "initContainers": [init]}
    spec = worker(URL_ONLY, pod, progress={"source": source})
    [volume] = spec["volumes"]
    assert volume == {
        "name": "drumline",
        "projected": {
            "sources": [
                {"serviceAccountToken": {"audience": "drumline", "expirationSeconds": 3600, "path": "token"}},
                {
                    "configMap": {
                        "name": "drumline-ca",
                        "items": [{"key": "ca.crt", "path": "ca.crt"}],
                        "optional": True,
                    }
                },
            ]
        },
    }
    for container in (*spec["containers"], *spec["initContainers"]):
        assert mounts(container)["/var/run/secrets/drumline.dev"]["readOnly"] is True
        assert env(container)["DRUMLINE_REPORT_URL"] == URL
        assert env(container)["DRUMLINE_REPORT_TOKEN_FILE"] == "/var/run/secrets/drumline.dev/token"
        assert env(container)["DRUMLINE_REPORT_CA_FILE"] == "/var/run/secrets/drumline.dev/ca.crt"


def test_what_the_user_has_stays_and_comes_first() -> None:
    mine = {"name": "data", "mountPath": "/data"}
    volume = {"name": "data", "emptyDir": {}}
    pod = {"containers": [{**TRAIN, "volumeMounts": [mine]}], "volumes": [volume]}
    spec = worker(ALL, pod)
    assert spec["volumes"][0] == volume
    assert spec["containers"][0]["volumeMounts"][0] == mine
    assert [v["name"] for v in spec["volumes"]] == ["data", "drumline", "drumline-launcher"]


def test_the_users_words_on_progress_survive_the_kubelet() -> None:
    said = {"source": "report", "preset": "nemo", "pattern": r"^a$(DRUMLINE_JOB)|$$ (?P<step>\d+)$"}
    [container] = worker(ALL, progress=said)["containers"]
    text = env(container)["DRUMLINE_PROGRESS"]
    assert "$" not in text
    assert json.loads(text) == said


def test_the_checkpoints_path_is_told_whatever_the_source() -> None:
    spec = worker(NOTHING, checkpoint={"path": "/ckpt"}, progress={"source": "none"})
    assert env(spec["containers"][0])["DRUMLINE_CHECKPOINT_PATH"] == "/ckpt"
    spec = worker(NOTHING, checkpoint={"intervalSeconds": 60})
    assert "DRUMLINE_CHECKPOINT_PATH" not in env(spec["containers"][0])


def test_helpers_report_nothing() -> None:
    spec = gang(ALL, checkpoint={"path": "/ckpt"}).helper(0, 0, None)["spec"]
    assert "volumes" not in spec
    assert "DRUMLINE_REPORT_URL" not in env(spec["containers"][0])


class TestLauncher:
    def test_goes_before_everything(self) -> None:
        side = {"name": "side", "image": "img", "command": ["python", "side.py"]}
        pod = {"containers": [TRAIN, side], "initContainers": [{"name": "fetch", "image": "img"}]}
        spec = worker(ALL, pod)
        assert [c["name"] for c in spec["initContainers"]] == ["drumline-launcher", "fetch"]
        installer, fetch = spec["initContainers"]
        assert installer["image"] == "drumline/operator:1"
        assert installer["command"] == ["python", "-m", "drumline.worker.install", "/drumline"]
        assert "env" not in installer
        assert mounts(installer) == {"/drumline": {"name": "drumline-launcher", "mountPath": "/drumline"}}
        train, second = spec["containers"]
        assert train["command"] == ["python", "/drumline/launcher.pyz", "--", "python", "train.py"]
        assert train["args"] == ["--lr", "1"]
        assert mounts(train)["/drumline"]["readOnly"] is True
        assert second["command"] == side["command"]
        assert "/drumline" not in {**mounts(second), **mounts(fetch)}
        assert {"name": "drumline-launcher", "emptyDir": {}} in spec["volumes"]

    @pytest.mark.parametrize(
        ("reporting", "source", "command"),
        [
            (URL_ONLY, "launcher", ["python"]),
            (Reporting("", "img"), "launcher", ["python"]),
            (ALL, "report", ["python"]),
            (ALL, "auto", ["mpirun"]),
            (ALL, "launcher", None),
        ],
    )
    def test_stays_away(self, reporting: Reporting, source: str, command: list[str] | None) -> None:
        container = {k: v for k, v in TRAIN.items() if k != "command"}
        if command:
            container["command"] = command
        spec = worker(reporting, {"containers": [container]}, progress={"source": source})
        assert "initContainers" not in spec
        assert spec["containers"][0].get("command") == command
        assert "drumline-launcher" not in [v["name"] for v in spec.get("volumes", [])]

    def test_takes_no_accelerator_and_adds_nothing_to_larger_requests(self) -> None:
        resources = {"requests": {"cpu": "8", "memory": "64Gi"}}
        pod = {"containers": [{**TRAIN, "resources": resources}]}
        with_it, without = worker(ALL, pod), worker(NOTHING, pod)
        assert with_it["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "8"}
        assert shape_of(with_it) == shape_of(without)

    def test_is_counted_where_the_workers_ask_for_less(self) -> None:
        requests = dict(shape_of(worker(ALL)).requests)
        assert requests["cpu"] == 200  # thousandths
        assert requests["memory"] == 128 * 2**20

    @pytest.mark.parametrize("mounts", ["text", 3, {"a": "b"}])
    def test_malformed_mounts_are_left_to_the_api_server(self, mounts: Any) -> None:
        spec = worker(ALL, {"containers": [{**TRAIN, "volumeMounts": mounts}]})
        assert spec["containers"][0]["volumeMounts"] == mounts


def test_the_renderings_hash_covers_it() -> None:
    hashes = {
        gang(reporting, progress=progress).render_hash
        for reporting in (NOTHING, URL_ONLY, ALL, Reporting(URL, "other"))
        for progress in ({}, {"source": "report"}, {"pattern": "(?P<step>.)"})
    }
    # without a URL nothing of it is rendered; with `report` the launcher's image is not
    assert len(hashes) == 1 + 3 + 2 + 2


BARRIERS = [
    (ALL, {"restartStrategy": "InPlace"}, {}, "1"),
    (ALL, {"rules": [{"name": "a", "action": "RestartInPlace", "onCause": ["Unknown"]}]}, {}, "1"),
    (ALL, {}, {}, None),
    (URL_ONLY, {"restartStrategy": "InPlace"}, {}, None),
    (ALL, {"restartStrategy": "InPlace"}, {"source": "report"}, None),
]


@pytest.mark.parametrize(("reporting", "policy", "progress", "value"), BARRIERS)
def test_the_launcher_holds_where_processes_may_start_again_in_their_pods(
    reporting: Reporting, policy: dict[str, Any], progress: dict[str, Any], value: str | None
) -> None:
    spec = worker(reporting, failurePolicy=policy, progress=progress)
    assert env(spec["containers"][0]).get("DRUMLINE_BARRIER") == value


def test_a_container_is_restarted_when_it_was_killed_where_that_can_be() -> None:
    able = Reporting(URL, "img", restarts=True)
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [137]}}]
    train = worker(able, failurePolicy={"restartStrategy": "InPlace"})["containers"][0]
    assert (train["restartPolicy"], train["restartPolicyRules"]) == ("Never", rules)
    assert "restartPolicyRules" not in worker(able)["containers"][0]
    assert (
        "restartPolicyRules" not in worker(ALL, failurePolicy={"restartStrategy": "InPlace"})["containers"][0]
    )
