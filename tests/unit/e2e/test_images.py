"""Images in agreement with the rest of the repository."""

import re
import tomllib
from pathlib import Path

import yaml

import drumline
from e2e.cluster import images

ROOT = Path(__file__).parents[3]


def _pins(name: str) -> dict[str, str]:
    text = (ROOT / "images" / name / "requirements.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all("==" in line for line in lines)
    return dict(line.split("==") for line in lines)


def test_the_operators_pins_satisfy_what_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = _pins("operator")
    exact = [item for item in project["dependencies"] if "==" in item]
    for name, version in (item.split("==") for item in exact):
        assert pins[name.lower().replace("_", "-")] == version
    for item in project["dependencies"]:
        name = re.split(r"[=<>]", item)[0].lower()
        assert name in pins


def test_the_tag_is_the_packages_version() -> None:
    assert images.version() == drumline.__version__


def test_examples_run_images_that_are_built_here() -> None:
    tags = {f"drumline/{name}:{images.version()}" for name in images.IMAGES}
    for example in sorted((ROOT / "examples").glob("*.yaml")):
        for manifest in yaml.safe_load_all(example.read_text()):
            if manifest["kind"] == "TrainingJob":
                containers = manifest["spec"]["template"]["spec"]["containers"]
                assert {container["image"] for container in containers} <= tags, example.name


def test_every_image_has_a_dockerfile_of_its_own() -> None:
    for name in ("operator", "worker-jax", "worker-torch"):
        text = (ROOT / "images" / name / "Dockerfile").read_text()
        assert f"images/{name}/requirements.txt" in text
        assert "USER 65532:65532" in text
