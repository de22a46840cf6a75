"""``kubectl drumline capacity`` as text: a tree with a bar for each domain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from drumline.cli.goodput_text import ASCII
from drumline.cli.terminal import Terminal, apportion, table
from drumline.core.gang.capacity_tree import Chips, Domain

BAR: Final = 24  # columns
_LETTERS: Final = "#rx."  # used, reserved, broken, free
_BLOCKS: Final = "█▓x·"
_TREE: Final = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-"})
_HOLDERS: Final = 3  # named beside a node


def drawn(trees: Sequence[Domain], terminal: Terminal, depth: int | None) -> str:
    """Every type with the levels below it, at most `depth` of them; None: all but the nodes."""
    if not trees:
        return "no node has an accelerator of the catalogue\n"
    blocks = _BLOCKS if terminal.unicode else _LETTERS
    header = ["DOMAIN", "TOTAL", "USED", "RESERVED", "BROKEN", "FREE", "NODES", "WHOLE FREE", "", "HELD BY"]
    rows = [row for tree in trees for row in _rows(tree, blocks, depth)]
    lines = table(header, rows, right=range(1, 8))
    legend = ", ".join(f"{sign} {word.strip()}" for sign, word in zip(blocks, _words(), strict=True))
    legend += "; accelerators, and nodes of which all are free"
    text = "\n".join((*lines, "", legend, *_fragmentation(trees))) + "\n"
    return text if terminal.unicode else text.translate({**ASCII, **_TREE})


def _fragmentation(trees: Iterable[Domain]) -> Iterator[str]:
    """Of each type with free accelerators, the share of them outside domains that are free as a whole."""
    for tree in trees:
        parts = [f"{f.ratio:.0%} by {f.level}" for f in tree.fragments if f.ratio is not None]
        if parts:
            yield f"free {tree.name} outside {'domains' if len(parts) > 1 else 'nodes'} that are free as a whole: {', '.join(parts)}"


def _words() -> tuple[str, ...]:
    return "used", "reserved by a gang", "broken (node not ready, cordoned or bad)", "free"


def _rows(tree: Domain, blocks: str, depth: int | None) -> Iterator[list[str]]:
    yield _cells(tree.name, tree, blocks)
    yield from _below(tree, "", blocks, depth)


def _below(domain: Domain, indent: str, blocks: str, depth: int | None) -> Iterator[list[str]]:
    children = domain.children
    if depth == 0 or (depth is None and all(child.level == "node" for child in children)):
        return
    for i, child in enumerate(children):
        last = i == len(children) - 1
        name = child.name or "(none)"
        label = name if child.level == "node" else f"{child.level} {name}"
        yield _cells(f"{indent}{'└─ ' if last else '├─ '}{label}", child, blocks)
        further = None if depth is None else depth - 1
        yield from _below(child, f"{indent}{'   ' if last else '│  '}", blocks, further)


def _cells(label: str, domain: Domain, blocks: str) -> list[str]:
    chips = domain.chips
    counts = (chips.total, chips.used, chips.reserved, chips.broken, chips.free)
    nodes = ["", ""] if domain.level == "node" else [str(domain.nodes), str(domain.free_nodes)]
    return [label, *map(str, counts), *nodes, _bar(chips, blocks), _held(domain)]


def _held(domain: Domain) -> str:
    named = list(domain.holders[:_HOLDERS])
    if len(domain.holders) > _HOLDERS:
        named.append(f"{len(domain.holders) - _HOLDERS} more")
    return ", ".join((*named, *([f"({domain.note})"] if domain.note else [])))


def _bar(chips: Chips, blocks: Iterable[str]) -> str:
    widths = apportion((chips.used, chips.reserved, chips.broken, chips.free), BAR)
    return "".join(sign * width for sign, width in zip(blocks, widths, strict=True))
