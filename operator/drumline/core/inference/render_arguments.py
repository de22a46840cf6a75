"""A preset's arguments, appended to the user's where the user has not said the same.

Which containers are given arguments. One that has a command is, if the command is one of the preset's executables
(``vllm serve``, ``python3 -m sglang.launch_server``): a shell or a wrapper stays as the user wrote it. One without
a command is, if its first argument is such an executable, or if the engine's usual image starts the engine by
itself. One with neither command nor arguments, whose image does not, is given the preset's command.

What the user has set: the flags of their words (`api.engine_words`). A first word that is none (the model of
``vllm serve MODEL``) sets the preset's positional flags. Only the user's words count, so
arguments that exclude each other are judged alike. Arguments are list items from first to last, no shell ever
reads them, and JSON is made by an encoder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drumline.api.engine_words import engine_options, flag_of, values_of
from drumline.api.engines import Argument, EnginePreset
from drumline.core.inference.env_engine import EngineFacts
from drumline.core.inference.render_templates import filled

Container = Mapping[str, Any]


def with_arguments(
    container: Container, preset: EnginePreset, facts: EngineFacts, *, leader: bool
) -> dict[str, Any]:
    """The container with what its engine lacks; the same again when nothing is lacking or it runs no engine."""
    options = engine_options(container, preset)
    if options is None:
        return dict(container)
    ours = list(_missing(preset, facts, options, _variables(container), leader=leader))
    bare = not container.get("command") and not container.get("args")
    command = {"command": list(preset.command)} if bare and preset.command else {}
    args = {"args": [*(container.get("args") or ()), *ours]} if ours else {}
    return {**container, **command, **args}


def user_port(container: Container, preset: EnginePreset) -> int | None:
    """The port that the user's own arguments or variables name; None when they name none."""
    found = [*values_of(engine_options(container, preset) or [], preset.port_flags)]
    found += [
        str(e["value"])
        for e in container.get("env") or ()
        if e.get("name") in preset.port_flags and e.get("value")
    ]
    numbers = (int(value) for value in found if value.isascii() and value.isdigit())
    return next((number for number in numbers if 0 < number < 65536), None)


def _missing(
    preset: EnginePreset, facts: EngineFacts, options: Sequence[str], env: frozenset[str], *, leader: bool
) -> Iterator[str]:
    taken = _flags(options, preset)
    for argument in preset.arguments:
        here = facts.applies(argument.when, argument.where, leader=leader)
        here = here and facts.holds.isdisjoint(argument.unless)
        if not here or not taken.isdisjoint(argument.flags) or not env.isdisjoint(argument.env):
            continue
        try:
            yield from _words(argument, facts)
        except KeyError:
            continue
    yield from _mesh(preset, facts, taken)


def _mesh(preset: EnginePreset, facts: EngineFacts, taken: frozenset[str]) -> Iterator[str]:
    """What the engine is told of a role's `parallelism`; a size of 1 is every engine's own default."""
    for known in preset.mesh:
        size = facts.mesh.get(known.size, 1)
        if size > 1 and taken.isdisjoint(known.flags):
            yield known.flags[0] if known.switch else f"{known.flags[0]}={size}"


def _words(argument: Argument, facts: EngineFacts) -> list[str]:
    """The argument's words. KeyError when a value is missing."""
    words = [str(filled(template, facts.values)) for template in argument.args]
    if argument.json_value is not None:
        own = {key: facts.parameters[key] for key in argument.json_fields if key in facts.parameters}
        words.append(f"{argument.flags[0]}={_json({**filled(argument.json_value, facts.values), **own})}")
    if argument.each_adapter is not None:
        for adapter in facts.adapters:
            values = {**facts.values, "adapter": adapter.name, "adapterSource": adapter.source}
            word = filled(argument.each_adapter, values)
            words.append(word if isinstance(word, str) else _json(word))
    return words


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _flags(options: Sequence[str], preset: EnginePreset) -> frozenset[str]:
    """Flags that the user has set."""
    found = {flag_of(word) for word in options if word.startswith("-")}
    if options and not options[0].startswith("-"):
        found.update(preset.positional)
    return frozenset(found)


def _variables(container: Container) -> frozenset[str]:
    return frozenset(e.get("name", "") for e in container.get("env") or ())
