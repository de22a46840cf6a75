"""What a container's command line says to its engine.

A container runs the engine if its command is one of the preset's executables (``vllm serve``,
``python3 -m sglang.launch_server``), or if it has no command and its image starts the engine by itself. Every word
that begins with a dash sets the flag before its first ``=``; without one the next word is its value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from posixpath import basename
from typing import Any

from drumline.api.engines import EnginePreset

Container = Mapping[str, Any]


def engine_options(container: Container, preset: EnginePreset) -> list[str] | None:
    """What follows the program in the container's command line; None when it does not run the engine."""
    command, args = list(container.get("command") or ()), list(container.get("args") or ())
    words = [*command, *args]
    end = _end_of_program(words, preset)
    if end is None:
        starts = preset.entrypoint or (bool(preset.command) and not words)
        if command or not starts:
            return None
        end = 0
    while end < len(words) and words[end] in preset.subcommands:
        end += 1
    return words[end:]


def flag_of(word: str) -> str:
    """The flag of a word; engines take ``--max_len`` for ``--max-len``."""
    name = word.partition("=")[0]
    return name.replace("_", "-") if name.startswith("--") else name


def values_of(options: Sequence[str], flags: Sequence[str]) -> Iterator[str]:
    """Each value that one of these flags is given; "" where none follows."""
    for index, word in enumerate(options):
        if flag_of(word) in flags:
            _, equals, value = word.partition("=")
            yield value if equals else next(iter(options[index + 1 : index + 2]), "")


def _end_of_program(words: Sequence[str], preset: EnginePreset) -> int | None:
    """Index after the program; None when the words do not begin with one of the preset's executables."""
    if not words:
        return None
    if basename(words[0]) in preset.executables:
        return 1
    if not basename(words[0]).startswith("python"):
        return None
    at = 1
    while at < len(words) and words[at].startswith("-") and words[at] != "-m":
        at += 1
    module = words[at : at + 1] == ["-m"]
    program = words[at + 1 : at + 2] if module else [basename(word) for word in words[at : at + 1]]
    known = bool(program) and program[0] in preset.executables
    return at + 1 + module if known else None
