"""Where the ranks of a gang are, by the Python stacks that their launchers collected; and which one is elsewhere.

A launcher answers with a text of `faulthandler` for each process: threads, the innermost frame first. Of a process the
thread counts that took the signal, which is the main thread, and of it the innermost frame of the program's own code:
no frame of the standard library, of Python's start or of a framework. A process without such a frame (an agent that
starts others, a loader's worker) counts only where no process of the rank has one.

Ranks are grouped by where they are. In a gang that works in step all wait for one that is late, so the smallest group
is the suspect. Between two groups of one size the one that does not wait for its peers is, which names of functions
tell. Ranks that do not answer are a group too, but where most do not, nobody is suspected.

The texts come from users' programs: what is taken from them is bounded and printable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

NO_ANSWER: Final = ""
MAX_NAME: Final = 60
MAX_GROUPS: Final = 4
MAX_PROCESSES: Final = 64  # of one rank
MAX_FRAMES: Final = 100  # of one thread, as faulthandler has it
EXCERPT_LINES: Final = 12

_PROCESS: Final = re.compile(r"^process \d+:$", re.MULTILINE)
_FRAME: Final = re.compile(r'^ *File "(?P<path>.*)", line (?P<line>\d+|\?+) in (?P<name>.*)$')
_LIBRARY: Final = re.compile(r"/lib(?:64)?/python3[^/]*/")
_PACKAGES: Final = re.compile(r"/(?:site|dist)-packages/(?P<package>[^/]+)")
_INTERNAL: Final = frozenset(
    {
        *("accelerate", "deepspeed", "drumline", "flax", "jax", "jaxlib", "lightning", "lightning_fabric"),
        *(
            "megatron",
            "mpi4py",
            "numpy",
            "nvidia",
            "optax",
            "orbax",
            "pytorch_lightning",
            "ray",
            "tensorflow",
        ),
        *("torch", "torch_xla", "transformers", "triton"),
    }
)
_WAITS: Final = re.compile(
    r"all_?reduce|all_?gather|all_?to_?all|reduce_?scatter|broadcast|barrier|rendezvous|block_until_ready"
    r"|synchronize|process_group|\brecv|\baccept\b|\bconnect\b"
)


class Place(NamedTuple):
    """Where a process is. `waits`: for its peers, as far as names tell."""

    text: str  # train.py:57 allreduce
    waits: bool
    own: bool  # a frame of the program's own code
    lines: tuple[str, ...]  # of its stack


@dataclass(frozen=True, slots=True)
class Group:
    """Ranks that are in one place; `NO_ANSWER`: that did not say."""

    text: str
    ranks: tuple[int, ...]
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What the stacks of a gang say."""

    groups: tuple[Group, ...] = ()
    suspect: int | None = None  # the rank that is elsewhere than its peers
    excerpt: str = ""  # of its stack

    def __str__(self) -> str:
        """One sentence: "ranks 0-2 in train.py:57 allreduce; rank 3 in data.py:12 read"."""
        told = [_told(group) for group in self.groups[:MAX_GROUPS]]
        more = len(self.groups) - MAX_GROUPS
        return "; ".join([*told, f"others in {more} more places"] if more > 0 else told)


def whereabouts(answers: Mapping[int, str]) -> Whereabouts:
    """What the answers of ranks say; an empty one is none."""
    places = {rank: _of_rank(text) for rank, text in answers.items()}
    groups = _grouped(places)
    odd = _odd_one(groups)
    if odd is None:
        return Whereabouts(groups)
    suspect = odd.ranks[0]
    lines = next((place.lines for place in places[suspect] if place.text == odd.text), ())
    return Whereabouts(groups, suspect, "\n".join(lines[:EXCERPT_LINES]))


def _told(group: Group) -> str:
    ranks = f"rank{'s' if len(group.ranks) > 1 else ''} {spans(group.ranks)}"
    if group.text == NO_ANSWER:
        return f"{ranks} {'do' if len(group.ranks) > 1 else 'does'} not answer"
    return f"{ranks} in {group.text}"


def spans(ranks: tuple[int, ...]) -> str:
    """Sorted numbers in few words: 0-2, 5. Of many spans the first ones."""
    found: list[list[int]] = []
    for rank in ranks:
        if found and rank == found[-1][1] + 1:
            found[-1][1] = rank
        else:
            found.append([rank, rank])
    texts = [str(a) if a == b else f"{a}-{b}" for a, b in found[:8]]
    return ", ".join([*texts, "…"] if len(found) > len(texts) else texts)


def _grouped(places: Mapping[int, tuple[Place, ...]]) -> tuple[Group, ...]:
    """Largest first."""
    ranks: dict[str, set[int]] = {}
    waits: dict[str, bool] = {}
    for rank, found in places.items():
        for place in found or (Place(NO_ANSWER, waits=False, own=False, lines=()),):
            ranks.setdefault(place.text, set()).add(rank)
            waits[place.text] = waits.get(place.text, True) and place.waits
    groups = [Group(text, tuple(sorted(who)), waits[text]) for text, who in ranks.items()]
    return tuple(sorted(groups, key=lambda g: (-len(g.ranks), g.ranks[0], g.text)))


def _odd_one(groups: tuple[Group, ...]) -> Group | None:
    """The group that is elsewhere than the rest; None where that can't be said."""
    if len(groups) <= 1 or groups[0].text == NO_ANSWER:
        return None
    least = min(len(g.ranks) for g in groups)
    smallest = [g for g in groups if len(g.ranks) == least]
    if least < len(groups[0].ranks):
        return smallest[0]
    active = [g for g in smallest if not g.waits]
    return active[0] if len(active) == 1 else None


def _of_rank(text: str) -> tuple[Place, ...]:
    """Where the processes of a rank are, each place once."""
    processes = [part for part in _PROCESS.split(text) if part.strip()][:MAX_PROCESSES]
    places = [place for process in processes if (place := _of_process(process)) is not None]
    own = [place for place in places if place.own]
    return tuple({place.text: place for place in own or places[:1]}.values())


def _of_process(text: str) -> Place | None:
    threads = [thread for thread in text.split("\n\n") if ' File "' in thread]
    asked = [thread for thread in threads if thread.lstrip().startswith("Current thread")] or threads[-1:]
    found = [place for thread in asked if (place := _of_thread(thread)) is not None]
    return next((place for place in found if place.own), found[0] if found else None)


def _of_thread(text: str) -> Place | None:
    frames = list(_frames(text))
    if not frames:
        return None
    at = next((i for i, frame in enumerate(frames) if not _is_internal(frame["path"])), -1)
    named = frames[max(at, 0)]
    above = " ".join(f"{frame['path']} {frame['name']}" for frame in frames[: max(at, 0) + 1])
    lines = tuple(_printable(f"{_base(f['path'])}:{f['line']} {f['name']}") for f in frames)
    text = _printable(f"{_base(named['path'])}:{named['line']} {named['name']}")
    return Place(text, _WAITS.search(above) is not None, at >= 0, lines)


def _frames(text: str) -> Iterator[re.Match[str]]:
    for line in text.splitlines()[: MAX_FRAMES + 1]:
        frame = _FRAME.match(line)
        if frame is not None:
            yield frame


def _is_internal(path: str) -> bool:
    """Whether a file is the standard library's, a framework's, or Python's own."""
    packages = _PACKAGES.search(path)
    if packages is not None:
        return packages["package"].partition(".")[0] in _INTERNAL
    return path.startswith("<frozen") or "/drumline/worker/" in path or _LIBRARY.search(path) is not None


def _base(path: str) -> str:
    return path.rpartition("/")[2][-MAX_NAME:]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[: 2 * MAX_NAME])
