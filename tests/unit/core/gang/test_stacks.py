"""Where ranks are by their stacks, and which one is elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.core.gang import stacks
from drumline.core.gang.stacks import NO_ANSWER, spans, whereabouts

LIB = "/usr/lib/python3.11"
TORCH = f"{LIB}/site-packages/torch/distributed/distributed_c10d.py"


def thread(*frames: tuple[str, int, str], current: bool = True) -> str:
    """A thread as faulthandler writes it, innermost first."""
    head = "Current thread 0x00007f2cf182eb80" if current else "Thread 0x00007f2cf0cdb6c0"
    lines = [f'  File "{path}", line {line} in {name}' for path, line, name in frames]
    return "\n".join([f"{head} (most recent call first):", *lines]) + "\n"


def answer(*threads: str, pid: int = 7) -> str:
    return f"process {pid}:\n" + "\n".join(threads)


POOL = thread((f"{LIB}/threading.py", 320, "wait"), ("/app/pool.py", 3, "run"), current=False)
REDUCES = answer(POOL, thread((TORCH, 2010, "all_reduce"), ("/app/train.py", 57, "allreduce")))
READS = answer(POOL, thread((f"{LIB}/socket.py", 706, "readinto"), ("/app/data.py", 12, "read")))
SLEEPS = answer(thread(("/app/train.py", 9, "pause")))


def test_the_odd_one_out_is_the_suspect() -> None:
    found = whereabouts({0: REDUCES, 1: REDUCES, 2: REDUCES, 3: READS})
    assert str(found) == "ranks 0-2 in train.py:57 allreduce; rank 3 in data.py:12 read"
    assert found.suspect == 3
    assert found.excerpt == "socket.py:706 readinto\ndata.py:12 read"


def test_of_two_the_one_that_does_not_wait_for_the_other() -> None:
    found = whereabouts({0: REDUCES, 1: SLEEPS})
    assert str(found) == "rank 0 in train.py:57 allreduce; rank 1 in train.py:9 pause"
    assert found.suspect == 1


@pytest.mark.parametrize("answers", [{0: REDUCES, 1: REDUCES}, {0: READS, 1: SLEEPS}, {0: SLEEPS}, {}])
def test_nobody_is_suspected_without_need(answers: dict[int, str]) -> None:
    assert whereabouts(answers).suspect is None
    assert not whereabouts(answers).excerpt


def test_one_that_does_not_answer_is_suspected_and_most_are_not() -> None:
    found = whereabouts({0: REDUCES, 1: "", 2: REDUCES})
    assert str(found) == "ranks 0, 2 in train.py:57 allreduce; rank 1 does not answer"
    assert found.suspect == 1
    found = whereabouts({0: REDUCES, 1: "", 2: ""})
    assert str(found) == "ranks 1-2 do not answer; rank 0 in train.py:57 allreduce"
    assert found.suspect is None


def test_an_agent_that_starts_others_does_not_count() -> None:
    agent = answer(thread((f"{LIB}/selectors.py", 416, "select"), (TORCH, 1, "run")), pid=1)
    both = agent + "\n" + SLEEPS
    assert whereabouts({0: both}).groups == whereabouts({0: SLEEPS}).groups
    assert str(whereabouts({0: agent})) == "rank 0 in selectors.py:416 select"


def test_a_rank_with_two_processes_is_in_two_places() -> None:
    two = answer(thread(("/app/a.py", 1, "f")), pid=1) + "\n" + answer(thread(("/app/b.py", 2, "g")), pid=2)
    same = answer(thread(("/app/a.py", 1, "f")))
    found = whereabouts({0: same, 1: two, 2: same})
    assert str(found) == "ranks 0-2 in a.py:1 f; rank 1 in b.py:2 g"
    assert (found.suspect, found.excerpt) == (1, "b.py:2 g")


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("<string>", True),
        ("<stdin>", True),
        ("<frozen importlib._bootstrap>", False),
        ("/opt/conda/lib/python3.11/queue.py", False),
        ("/usr/lib64/python3.9/queue.py", False),
        ("/usr/lib/python3/dist-packages/torch/_utils.py", False),
        ("/venv/lib/python3.11/site-packages/my_model/train.py", True),
        ("/venv/lib/python3.11/site-packages/typing_extensions.py", True),
        ("/drumline/launcher.pyz/drumline/worker/client.py", False),
    ],
)
def test_whose_code_it_is(path: str, own: bool) -> None:
    outer = ("/app/train.py", 1, "main")
    found = whereabouts({0: answer(thread((path, 5, "f"), outer))})
    assert ("main" in str(found)) is not own


def test_many_ranks_and_places_are_told_in_few_words() -> None:
    answers = {i: answer(thread((f"/app/{i // 2}.py", 1, "f"))) for i in range(20)}
    text = str(whereabouts(answers))
    assert text.startswith("ranks 0-1 in 0.py:1 f; ")
    assert text.endswith("; others in 6 more places")
    assert spans(tuple(range(0, 40, 2))) == "0, 2, 4, 6, 8, 10, 12, 14, …"


@given(st.dictionaries(st.integers(0, 9), st.text(max_size=300) | st.sampled_from([REDUCES, READS, SLEEPS])))
def test_whatever_programs_say(answers: dict[int, str]) -> None:
    found = whereabouts(answers)
    assert {rank for g in found.groups for rank in g.ranks} == set(answers)
    assert found.suspect is None or found.suspect in answers
    assert str(found).isprintable()
    assert len(str(found)) < 1500


@given(st.binary(max_size=200).map(lambda b: b.decode("latin-1")))
def test_names_are_printable_and_short(name: str) -> None:
    found = whereabouts(
        {0: f'process 1:\nCurrent thread 0x1:\n  File "/a/{name}.py", line 1 in {name * 9}\n'}
    )
    assert all(len(g.text) <= 2 * stacks.MAX_NAME for g in found.groups)
    assert all(g.text == NO_ANSWER or g.text.isprintable() for g in found.groups)
