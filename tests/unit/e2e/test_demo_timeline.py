"""The timeline: what a watch saw becomes one row a phase."""

import io
import json

from e2e.demo_timeline import Mark, mark, table, transitions
from e2e.demo_watch import documents


def test_a_job_without_a_status_has_been_created_only() -> None:
    assert mark({"metadata": {"name": "a"}}, 0.5) == Mark(0.5, "Created", 0)
    assert mark({"status": {"phase": "Running", "attempt": 2}}, 1) == Mark(1, "Running", 2)


def test_only_changes_of_phase_or_attempt_count() -> None:
    seen = [Mark(0, "Queued", 0), Mark(1, "Running", 1), Mark(2, "Running", 1), Mark(3, "Running", 2)]
    assert transitions(seen) == [seen[0], seen[1], seen[3]]


def test_rows_have_start_length_attempt_and_phase() -> None:
    seen = [
        Mark(0.0, "Queued", 0),
        Mark(1.0, "Running", 1),
        Mark(5.0, "Restarting", 1),
        Mark(7.5, "Running", 2),
        Mark(10.0, "Succeeded", 2),
    ]
    rows = [line.split()[:4] for line in table(seen).splitlines()[1:]]
    assert rows == [
        ["0.0", "1.0", "0", "Queued"],
        ["1.0", "4.0", "1", "Running"],
        ["5.0", "2.5", "1", "Restarting"],
        ["7.5", "2.5", "2", "Running"],
        ["10.0", "2", "Succeeded"],
    ]


def test_bars_share_out_the_whole() -> None:
    text = table([Mark(0, "Running", 1), Mark(3, "Restarting", 1), Mark(4, "Succeeded", 1)])
    assert [line.count("#") for line in text.splitlines()] == [0, 30, 10, 0]


def test_a_job_that_was_never_seen() -> None:
    assert table([]) == "(the job was never seen)"


def test_a_watch_is_cut_into_its_documents() -> None:
    objects = [{"a": {"b": [1, 2]}}, {"text": "}\n}"}, {"c": {}}]
    stream = io.StringIO("".join(json.dumps(item, indent=4) + "\n" for item in objects))
    assert list(documents(stream)) == objects
