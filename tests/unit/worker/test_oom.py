"""What the kernel says of processes that it killed for want of memory, in either version of cgroups."""

from pathlib import Path

import pytest

from drumline.worker.oom import kills


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 1\n", 2),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", 5),
        ("oom_kill_disable 0\nunder_oom 0\n", 0),  # before Linux 4.13
        ("oom_kill many\n", 0),
    ],
)
def test_kills_are_counted(tmp_path: Path, text: str, count: int) -> None:
    path = tmp_path / "events"
    path.write_text(text)
    assert kills((tmp_path / "absent", path)) == count


def test_nothing_is_known_where_there_is_no_such_file(tmp_path: Path) -> None:
    assert kills((tmp_path / "absent",)) == 0
