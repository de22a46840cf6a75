"""How the launcher comes before a command; the shell's words are tried in a real shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drumline.core.training import launcher
from drumline.core.training.launcher import init_container, launched, refusal
from drumline.worker.install import install

SHELL = shutil.which("sh")


def template(command: Any = None, **pod: Any) -> dict[str, Any]:
    container = {"name": "train", "image": "img"}
    if command is not None:
        container["command"] = command
    return {"spec": {"containers": [container], **pod}}


@pytest.mark.parametrize(
    "program", ["python", "python3", "python3.9", "python3.12", "/opt/conda/bin/python3", "./python"]
)
def test_an_interpreter_runs_the_launcher_itself(program: str) -> None:
    assert launched([program, "-u", "train.py"]) == [
        program,
        "/drumline/launcher.pyz",
        "--",
        program,
        "-u",
        "train.py",
    ]


@pytest.mark.parametrize("program", ["sh", "/bin/sh", "bash", "dash", "ash", "/usr/bin/zsh"])
def test_a_shell_looks_for_an_interpreter(program: str) -> None:
    command = [program, "-c", "echo $HOME; python train.py"]
    words = launched(command)
    assert words is not None
    assert (words[0], words[1], words[3]) == (program, "-c", "drumline")
    assert words[4:] == command
    assert "train.py" not in words[2]


@pytest.mark.parametrize(
    "program",
    [
        "mpirun",
        "torchrun.sh",
        "python2",
        "python3.",
        "python-config",
        "pythonx",
        "fish",
        "./run.sh",
        "",
        "$(PYTHON)",
        "/bin/",
    ],
)
def test_any_other_program_is_left_alone(program: str) -> None:
    assert launched([program, "-c", "x"]) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (template(), "container train has no command"),
        (template([]), "container train has no command"),
        (template("python"), "container train has no command"),
        (template([1]), "container train has no command"),
        (template(["mpirun", "a.py"]), "command[0] of container train is 'mpirun'"),
        (template(["python"], os={"name": "windows"}), "spec.template.spec.os is windows"),
        (template(["python"], os={"name": "linux"}), ""),
        (template(["/bin/bash", "train.sh"]), ""),
        (template(["torchrun", "train.py"]), ""),
    ],
)
def test_it_says_why_it_does_not_apply(given: dict[str, Any], words: str) -> None:
    assert words in refusal(given)
    assert bool(refusal(given)) == bool(words)


def test_the_script_holds_nothing_that_the_kubelet_would_expand() -> None:
    words = launched(["sh"])
    assert words is not None
    assert "$(" not in words[2]
    assert "$$" not in words[2]


@pytest.mark.parametrize(
    "program",
    [
        "torchrun",
        "accelerate",
        "deepspeed",
        "composer",
        "colossalai",
        "/opt/conda/bin/torchrun",
        "./torchrun",
    ],
)
def test_a_shell_runs_before_scripts_that_are_known_to_be_pythons(program: str) -> None:
    command = [program, "--nproc-per-node=8", "train.py"]
    words = launched(command)
    assert words is not None
    assert [words[0], words[1], *words[3:]] == ["/bin/sh", "-c", "drumline", *command]


def run(words: list[str], path: Path) -> list[str]:
    """What a shell's words print, with only `path` to find programs in."""
    assert SHELL is not None
    done = subprocess.run(
        [SHELL, *words[1:]], env={"PATH": str(path)}, capture_output=True, check=True, timeout=30
    )
    return done.stdout.decode().split("\0")[:-1]


def program(path: Path, name: str, mark: str) -> None:
    """A program that prints its mark and its arguments."""
    path.joinpath(name).write_text(f'#!{SHELL}\nprintf "%s\\0" {mark} "$@"\n')
    path.joinpath(name).chmod(0o755)


def test_without_an_interpreter_the_command_runs_as_it_is(tmp_path: Path) -> None:
    program(tmp_path, "sh", "user")
    words = launched(["sh", "-c", "a  b"])
    assert words is not None
    assert run(words, tmp_path) == ["user", "-c", "a  b"]


@pytest.mark.parametrize(
    ("there", "found"), [(["python", "python3"], "python3"), (["python"], "python")], ids=str
)
def test_the_launcher_gets_the_command_word_for_word(tmp_path: Path, there: list[str], found: str) -> None:
    for name in there:
        program(tmp_path, name, name)
    command = ["bash", "-c", "echo '$HOME' \"x\"\n; `id` $(id) *", ""]
    words = launched(command)
    assert words is not None
    assert run(words, tmp_path) == [found, launcher.LAUNCHER_FILE, "--", *command]


def test_without_one_on_path_the_interpreter_beside_the_script_is_taken(tmp_path: Path) -> None:
    empty, bin_ = tmp_path / "empty", tmp_path / "conda"
    for folder in (empty, bin_):
        folder.mkdir()
    program(bin_, "python3", "beside")
    program(bin_, "torchrun", "user")
    command = [str(bin_ / "torchrun"), "train.py"]
    words = launched(command)
    assert words is not None
    assert run(words, empty) == ["beside", launcher.LAUNCHER_FILE, "--", *command]
    program(empty, "python3", "path")
    assert run(words, empty)[0] == "path"


def test_a_script_without_any_interpreter_runs_as_it_is(tmp_path: Path) -> None:
    program(tmp_path, "torchrun", "user")
    words = launched(["torchrun", "a b"])
    assert words is not None
    assert run(words, tmp_path) == ["user", "a b"]


def test_the_launcher_runs_a_script_whose_interpreter_is_another(tmp_path: Path) -> None:
    """For real: the launcher by PATH's Python, a torchrun with a shebang of its own as its child."""
    pyz = install(tmp_path)
    tmp_path.joinpath("python3").symlink_to(sys.executable)
    shown = "import os, sys; print(sys.argv[1:], 'DRUMLINE_STACKS' in os.environ); sys.exit(7)"
    tmp_path.joinpath("torchrun").write_text(f"#!{sys.executable} -I\n{shown}\n")
    tmp_path.joinpath("torchrun").chmod(0o755)
    words = launched(["torchrun", "--nnodes", "2", "train me.py"])
    assert words is not None
    words[2] = words[2].replace(launcher.LAUNCHER_FILE, str(pyz))
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    done = subprocess.run(words, env=environ, capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (7, b"")
    assert done.stdout.decode() == "['--nnodes', '2', 'train me.py'] True\n"


@pytest.fixture(scope="module")
def shows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program that shows its words, and no interpreter of a name that is looked for."""
    folder = tmp_path_factory.mktemp("shows")
    folder.joinpath("shows").symlink_to(sys.executable)
    return folder


_WORD = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)


@settings(max_examples=25, deadline=None)
@given(st.lists(_WORD, max_size=4))
def test_any_words_arrive_as_they_are(shows: Path, rest: list[str]) -> None:
    words = launched(["sh", *rest])
    assert words is not None
    assert SHELL is not None
    # the last resort hands over to the words themselves: here a program that shows them
    shown = [str(shows / "shows"), "-c", "import sys; print(ascii(sys.argv[1:]), end='')", *rest]
    done = subprocess.run(
        [SHELL, "-c", words[2], "drumline", *shown],
        env={"PATH": os.devnull, "PYTHONUTF8": "1"},
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.decode() == ascii(rest)


class TestInitContainer:
    def test_is_fit_for_the_restricted_standard(self) -> None:
        security = init_container("img:1", template(["python"]))["securityContext"]
        assert security == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }

    def test_is_not_root_where_the_pod_is(self) -> None:
        pod = template(["python"], securityContext={"runAsUser": 0})
        assert init_container("img:1", pod)["securityContext"]["runAsUser"] == 65532

    def test_runs_as_the_pods_own_user(self) -> None:
        pod = template(["python"], securityContext={"runAsUser": 1000})
        assert "runAsUser" not in init_container("img:1", pod)["securityContext"]

    def test_leaves_a_guaranteed_pod_guaranteed(self) -> None:
        resources = init_container("img:1", template(["python"]))["resources"]
        assert resources["limits"] == resources["requests"]
        assert set(resources["limits"]) == {"cpu", "memory"}
