"""What is refused of progress, checkpoints and models, by the field that is named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.mounts import is_taken
from tests.unit.api.specs import container, errors_of, paths_of, template

SIZES = {"layers": 32, "heads": 32, "headDim": 128, "sequenceLength": 8192}
SCRAPE = {"port": 9090, "step": "train_step"}
STEP = r"(?P<step>\d+)"


def mounted(path: str, kind: str = "containers") -> dict[str, Any]:
    pod = {"containers": [container()]}
    one = container(volumeMounts=[{"name": "x", "mountPath": path}])
    return {"spec": {**pod, kind: [one]}}


VALID: list[dict[str, Any]] = [
    {"progress": {"source": "scrape", "scrape": SCRAPE}},
    {"progress": {"pattern": rf"^\[{STEP}\] (?P<tokens>\d+) (?P<seconds>\S+) (?P<flops>\S+) (?P<loss>.+)$"}},
    {"progress": {"source": "log", "pattern": f"(a|b) {STEP}", "commitPattern": f"saved {STEP}"}},
    {"progress": {"pattern": f"[[a] {STEP}"}},  # which Python warns of
    {"model": {"parameters": 8000000000}},
    {"model": {"parameters": 8e9, "activeParameters": 8e9}},
    {"model": {"parameters": 8e9, **SIZES}},
    {"model": {"parameters": 8e9, **SIZES, "window": 1024}},
    {"progress": {"source": "none"}, "template": template(volumes=[{"name": "drumline", "emptyDir": {}}])},
    {"progress": {"source": "none"}, "template": mounted("/drumline")},
    {"template": mounted("/drumlines")},
    {"template": mounted("/var/run/secrets")},
    {"template": template(volumes=[{"name": "drumline-data", "emptyDir": {}}])},
]


@pytest.mark.parametrize("fields", VALID, ids=str)
def test_valid(fields: dict[str, Any]) -> None:
    assert errors_of(**fields) == ()


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"progress": {"source": "scrape"}}, "spec.progress.scrape", "required with source scrape"),
    ({"progress": {"scrape": SCRAPE}}, "spec.progress.scrape", "given with source auto"),
    ({"progress": {"pattern": "step"}}, "spec.progress.pattern", r"the group (?P<step>\d+)"),
    ({"progress": {"pattern": rf"\{STEP}"}}, "spec.progress.pattern", "unbalanced parenthesis"),
    ({"progress": {"pattern": "(" * 600 + STEP}}, "spec.progress.pattern", "allowed: a regular expression"),
    (
        {"progress": {"pattern": "a{99999999999999}" + STEP}},
        "spec.progress.pattern",
        "allowed: a regular expression",
    ),
    (
        {"progress": {"pattern": rf"{STEP} (?P<speed>\d+) (?P<lr>\d+)"}},
        "spec.progress.pattern",
        "given the groups lr, speed; allowed: step, tokens, seconds, flops, loss",
    ),
    (
        {"progress": {"commitPattern": rf"{STEP} (?P<tokens>\d+)"}},
        "spec.progress.commitPattern",
        "given the groups tokens; allowed: step",
    ),
    ({"progress": {"pattern": "a" * 1025}}, "spec.progress.pattern", "at most 1024"),
    (
        {"model": {"parameters": 8e9, "activeParameters": 9e9}},
        "spec.model.activeParameters",
        "given 9e+09; allowed: at most parameters, 8e+09",
    ),
    ({"model": {"parameters": 8e9, "window": 8}}, "spec.model.layers", "required with window"),
    (
        {"template": template(volumes=[{"name": "drumline", "emptyDir": {}}])},
        "spec.template.spec.volumes[0].name",
        "given 'drumline', which the operator adds",
    ),
    (
        {"template": template(initContainers=[container(name="drumline-launcher")])},
        "spec.template.spec.initContainers[0].name",
        "which the operator adds",
    ),
    (
        {"template": mounted("/var/run/secrets//drumline.dev/")},
        "spec.template.spec.containers[0].volumeMounts[0].mountPath",
        "where the operator mounts its own",
    ),
    (
        {"template": mounted("/drumline/data", "initContainers")},
        "spec.template.spec.initContainers[0].volumeMounts[0].mountPath",
        "where the operator mounts its own",
    ),
]


@pytest.mark.parametrize(("fields", "path", "words"), REFUSED, ids=str)
def test_refused(fields: dict[str, Any], path: str, words: str) -> None:
    found = [error.message for error in errors_of(**fields) if error.path == path]
    assert found, errors_of(**fields)
    assert any(words in message for message in found), found


@pytest.mark.parametrize("missing", SIZES)
def test_a_size_that_attention_lacks_is_named(missing: str) -> None:
    sizes = {name: value for name, value in SIZES.items() if name != missing}
    assert paths_of(model={"parameters": 8e9, **sizes}) == [f"spec.model.{missing}"]


@given(
    st.text(max_size=40).map(lambda text: text + STEP) | st.text(alphabet="(?P<step>)[]{}*+\\|^$", min_size=1)
)
def test_any_pattern_is_taken_or_refused(pattern: str) -> None:
    assert set(paths_of(progress={"pattern": pattern})) <= {"spec.progress.pattern"}


@pytest.mark.parametrize("mounts", [None, [None], "text", [{}], [{"mountPath": 3}], {"a": 1}], ids=str)
def test_mounts_of_any_form_are_survived(mounts: Any) -> None:
    assert errors_of(template={"spec": {"containers": [container(volumeMounts=mounts)]}}) == ()


@pytest.mark.parametrize(("path", "taken"), [("drumline", True), ("/drumline/../x", False), ("", False)])
def test_paths_are_compared_as_the_kernel_does(path: str, *, taken: bool) -> None:
    assert is_taken(path) is taken
