"""What an engine is told of its service: the values of a preset's templates, its variables, and ours for a wrapper.

A container whose command we do not know finds everything that a preset would have put into arguments in
``DRUMLINE_MODEL``, ``DRUMLINE_MODEL_SOURCE``, ``DRUMLINE_SPECULATIVE_*``, ``DRUMLINE_DRAFT_*``, ``DRUMLINE_KV_*``,
``DRUMLINE_{TENSOR,PIPELINE,DATA,EXPERT}_PARALLEL``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from drumline.api.engines import EnginePreset, Variable, When, Where
from drumline.api.inference import InferenceServiceSpec
from drumline.api.inference_model import (
    Adapter,
    DraftModel,
    KvTransfer,
    Model,
    SpeculationMethod,
    Speculative,
)
from drumline.api.inference_parallelism import Size
from drumline.core.gang.variables import EnvVar, variables
from drumline.core.inference import env_group
from drumline.core.inference.env_group import GroupFacts
from drumline.core.inference.render_shape import GroupShape, role_of
from drumline.core.inference.render_templates import filled

PREFILL: Final = "prefill"
ANY_ROLE: Final = "*"
WORKER: Final = "$(DRUMLINE_WORKER)"  # the kubelet puts the number in: all workers have the same arguments
_TOLD: Final = (Size.TENSOR, Size.PIPELINE, Size.DATA, Size.EXPERT)
_OFFLINE: Final = ("HF_HUB_OFFLINE", "1")


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What a preset's templates may depend on, for one role."""

    values: Mapping[str, Any]  # by placeholder
    holds: frozenset[When]
    adapters: tuple[Adapter, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)  # of kvTransfer, all of them
    speculative: Speculative | None = None  # None: this role does not speculate
    mesh: Mapping[Size, int] = field(default_factory=dict)  # empty: the role says nothing of its parallelism

    def applies(self, when: tuple[When, ...], where: Where, *, leader: bool) -> bool:
        """Whether an argument or a variable is for this pod."""
        here = where is Where.ALL or (where is Where.LEADER) is leader
        return here and self.holds.issuperset(when)


def model_source(model: Model) -> str:
    """Where the engine finds the model: as said, or by its name, in the cache if there is one."""
    if model.source is not None:
        return model.source
    return f"{model.cache.mount_path.rstrip('/')}/{model.name}" if model.cache is not None else model.name


def draft_source(draft: DraftModel, model: Model | None) -> str:
    """Where the engine finds the draft model, in the same way."""
    if draft.source is not None:
        return draft.source
    cache = model.cache if model is not None else None
    return f"{cache.mount_path.rstrip('/')}/{draft.name}" if cache is not None else draft.name


def speculates(spec: InferenceServiceSpec, role: str) -> Speculative | None:
    """The speculation of a role; None when it has none. Default: all roles but prefill and the draft's own."""
    found = spec.speculative
    if found is None or not found.enabled or role == found.draft_role:
        return None
    return found if (role in found.roles if found.roles else role != PREFILL) else None


def model_of(spec: InferenceServiceSpec, role: str) -> Model | None:
    """What a role's groups load: the model, or in the draft's own role the draft model."""
    speculative, model = spec.speculative, spec.model
    if speculative is None or speculative.draft_model is None or role != speculative.draft_role:
        return model
    draft = speculative.draft_model
    base = model or Model(name=draft.name)
    return base.model_copy(update={"name": draft.name, "source": draft_source(draft, model), "adapters": ()})


def engine_facts(
    spec: InferenceServiceSpec, preset: EnginePreset, facts: GroupFacts, shape: GroupShape
) -> EngineFacts:
    """What the preset's templates may depend on, for the role of `facts`."""
    speculative, model = speculates(spec, facts.role), model_of(spec, facts.role)
    parallelism = role_of(spec, facts.role).parallelism
    values: dict[str, Any] = {
        "port": facts.port,
        "size": facts.size,
        "chips": shape.chips_per_worker,
        "allChips": shape.chips,
        "leader": facts.leader,
        "worker": WORKER,
        "masterPort": env_group.MASTER_PORT,
        "graceful": preset.shutdown.graceful_seconds,
        **_model_values(model),
        **_speculative_values(speculative, model),
        **_kv_values(spec.kv_transfer, preset, facts.role),
    }
    return EngineFacts(
        values=values,
        holds=frozenset(
            {*_holding(spec, model, speculative, shape), *([When.PARALLELISM] if parallelism else ())}
        ),
        adapters=model.adapters if model is not None else (),
        parameters=kv_parameters(spec.kv_transfer),
        speculative=speculative,
        mesh=parallelism.sizes(shape.chips) if parallelism is not None else {},
    )


def kv_parameters(transfer: KvTransfer | None) -> dict[str, Any]:
    """The parameters of a KV transfer: what reads as JSON is taken for that, anything else is text."""
    return {key: _parsed(value) for key, value in transfer.parameters.items()} if transfer else {}


def engine_env(preset: EnginePreset, facts: EngineFacts, *, leader: bool) -> list[EnvVar]:
    """The preset's variables for a pod."""
    found = [
        _variable(variable, facts)
        for variable in preset.variables
        if facts.applies(variable.when, variable.where, leader=leader)
    ]
    return [variable for variable in found if variable is not None]


def service_env(spec: InferenceServiceSpec, facts: GroupFacts, engine: EngineFacts) -> list[EnvVar]:
    """What a service is made of, for whatever program runs in its pods."""
    model = model_of(spec, facts.role)
    return [
        *(_model_env(model, engine) if model is not None else ()),
        *_speculative_env(model, facts, engine.speculative),
        *_kv_env(engine.values),
        *variables(
            [(f"DRUMLINE_{size.value.upper()}_PARALLEL", engine.mesh[size]) for size in _TOLD if engine.mesh]
        ),
    ]


def _model_values(model: Model | None) -> dict[str, Any]:
    return {} if model is None else {"name": model.name, "source": model_source(model)}


def _speculative_values(speculative: Speculative | None, model: Model | None) -> dict[str, Any]:
    if speculative is None:
        return {}
    values: dict[str, Any] = {
        "method": speculative.method.value,
        "tokens": speculative.tokens,
        "more": speculative.tokens + 1,
    }
    if speculative.draft_model is not None:
        values["draft"] = draft_source(speculative.draft_model, model)
    if speculative.disable_above_running is not None:
        values |= {
            "limit": speculative.disable_above_running,
            "above": speculative.disable_above_running + 1,
        }
    return values


def _kv_values(transfer: KvTransfer | None, preset: EnginePreset, role: str) -> dict[str, Any]:
    if transfer is None:
        return {}
    own = {name for argument in preset.arguments for name in argument.json_fields}
    extra = {key: value for key, value in kv_parameters(transfer).items() if key not in own}
    kv_role = preset.kv_roles.get(role) or preset.kv_roles.get(ANY_ROLE)
    values = {
        "connector": transfer.connector,
        "kvPort": transfer.port,
        "kvRole": kv_role,
        "kvParameters": extra or None,
    }
    return {key: value for key, value in values.items() if value is not None}


def _holding(
    spec: InferenceServiceSpec, model: Model | None, speculative: Speculative | None, shape: GroupShape
) -> list[When]:
    on_its_own = speculative is not None and speculative.draft_role is None
    method = speculative.method if speculative is not None else None
    known = {
        When.MODEL: model is not None,
        When.ADAPTERS: model is not None and bool(model.adapters),
        When.DRAFT_MODEL: on_its_own and method is SpeculationMethod.DRAFT_MODEL,
        When.NGRAM: method is SpeculationMethod.NGRAM,
        When.KV_TRANSFER: spec.kv_transfer is not None,
        When.MULTI_HOST: shape.size > 1,
        When.MULTI_CHIP: shape.chips > 1,
    }
    return [when for when, holds in known.items() if holds]


def _parsed(value: str) -> Any:
    try:
        parsed = json.loads(value)
        json.dumps(parsed, allow_nan=False)  # infinite and not-a-number are read, and are no JSON
    except (ValueError, RecursionError):
        return value
    return parsed


def _variable(variable: Variable, facts: EngineFacts) -> EnvVar | None:
    if variable.field_path:
        return {"name": variable.name, "valueFrom": {"fieldRef": {"fieldPath": variable.field_path}}}
    try:
        value = filled(variable.value, facts.values)
    except KeyError:
        return None
    return {"name": variable.name, "value": str(value)}


def _model_env(model: Model, engine: EngineFacts) -> list[EnvVar]:
    source = model_source(model)
    own = variables([("DRUMLINE_MODEL", model.name), ("DRUMLINE_MODEL_SOURCE", source)])
    loaded = [source, *(adapter.source for adapter in model.adapters)]
    if "draft" in engine.values:
        loaded.append(engine.values["draft"])
    return [*own, *variables(_hub(model, loaded))]


def _hub(model: Model, loaded: Sequence[str]) -> list[tuple[str, object]]:
    """Hints for Hugging Face's library, where they can do no harm.

    Offline only if nothing has to be fetched; its home is the cache only where it may write there.
    """
    if all(source.startswith("/") for source in loaded):
        return [_OFFLINE]
    if model.cache is None or model.cache.read_only:
        return []
    return [("HF_HOME", model.cache.mount_path)]


def _speculative_env(model: Model | None, facts: GroupFacts, speculative: Speculative | None) -> list[EnvVar]:
    if speculative is None:
        return []
    found: list[tuple[str, object]] = [
        ("DRUMLINE_SPECULATIVE_METHOD", speculative.method.value),
        ("DRUMLINE_SPECULATIVE_TOKENS", speculative.tokens),
    ]
    if speculative.disable_above_running is not None:
        found.append(("DRUMLINE_SPECULATIVE_LIMIT", speculative.disable_above_running))
    draft = speculative.draft_model
    if draft is not None:
        found += [("DRUMLINE_DRAFT_MODEL", draft.name), ("DRUMLINE_DRAFT_SOURCE", draft_source(draft, model))]
    address = dict(facts.peers).get(speculative.draft_role or "")
    if address:
        found.append(("DRUMLINE_DRAFT_ADDRESS", address))
    return variables(found)


def _kv_env(values: Mapping[str, Any]) -> list[EnvVar]:
    known = (
        ("DRUMLINE_KV_CONNECTOR", "connector"),
        ("DRUMLINE_KV_ROLE", "kvRole"),
        ("DRUMLINE_KV_PORT", "kvPort"),
    )
    return variables([(name, values[key]) for name, key in known if key in values])
