"""What an InferenceService serves and with what: model, adapters, speculation, KV transfer, routing."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from drumline.api.base import ApiModel
from drumline.api.inference_scaling import DNS_1035, keyed_by
from drumline.api.training import DNS_1123, SUBDOMAIN

MAX_TEXT: Final = 1024
MODEL_NAME: Final = r"^[A-Za-z0-9]([-A-Za-z0-9._/:]*[A-Za-z0-9])?$"
PATH: Final = r"^/[-A-Za-z0-9._/]*$"


class Engine(StrEnum):
    """Which server runs; each has a preset of ports, paths, metrics and arguments."""

    VLLM = "vllm"
    SGLANG = "sglang"
    JETSTREAM = "jetstream"
    TRITON = "triton"
    LLAMACPP = "llamacpp"
    CUSTOM = "custom"


class NamedObject(ApiModel):
    """An object of the service's own namespace."""

    name: str = Field(max_length=253, pattern=SUBDOMAIN, description="Its name.")


class ModelCache(ApiModel):
    """A volume that holds weights."""

    claim_name: str = Field(
        max_length=253, pattern=SUBDOMAIN, description="PersistentVolumeClaim.", examples=["weights"]
    )
    mount_path: str = Field(
        default="/models", max_length=256, pattern=PATH, description="Where the engine finds it."
    )
    sub_path: str | None = Field(
        default=None, max_length=256, pattern=r"^[-A-Za-z0-9._/]+$", description="Folder of the volume."
    )
    read_only: bool = Field(default=True, description="Mounted read-only.")


class Adapter(ApiModel):
    """A LoRA adapter, served under its own name."""

    name: str = Field(max_length=63, pattern=MODEL_NAME, description="Model name that requests use.")
    source: str = Field(
        min_length=1, max_length=MAX_TEXT, description="Path in the container, or what the engine can load."
    )


class Model(ApiModel):
    """What is served."""

    name: str = Field(
        max_length=253,
        pattern=MODEL_NAME,
        description="Model name that requests use.",
        examples=["llama-3-70b"],
    )
    source: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_TEXT,
        description="Path in the container, or what the engine can load. Default: the name, in the cache if any.",
    )
    secret_ref: NamedObject | None = Field(
        default=None,
        description="Secret of the namespace whose keys become environment variables of the engine's container, "
        "such as HF_TOKEN for gated weights. The operator never reads it.",
    )
    cache: ModelCache | None = Field(default=None, description="A volume that holds weights.")
    adapters: tuple[Adapter, ...] = Field(
        default=(), max_length=64, description="LoRA adapters.", json_schema_extra=keyed_by("name")
    )


class SpeculationMethod(StrEnum):
    """Who guesses the next tokens."""

    DRAFT_MODEL = "draftModel"
    NGRAM = "ngram"


class DraftModel(ApiModel):
    """A small model that guesses."""

    name: str = Field(max_length=253, pattern=MODEL_NAME, description="Its name.", examples=["llama-3-1b"])
    source: str | None = Field(
        default=None, min_length=1, max_length=MAX_TEXT, description="As `model.source`; default: the name."
    )


class Speculative(ApiModel):
    """Speculative decoding: cheap guesses that the model checks."""

    method: SpeculationMethod = Field(
        default=SpeculationMethod.DRAFT_MODEL,
        description="`draftModel` guesses, or `ngram`: the prompt itself.",
    )
    draft_model: DraftModel | None = Field(
        default=None, description="Required for, and only for, the method draftModel."
    )
    tokens: int = Field(default=5, ge=1, le=64, description="Tokens guessed at a time.", examples=[5])
    roles: tuple[Annotated[str, Field(max_length=20, pattern=DNS_1035)], ...] = Field(
        default=(),
        max_length=8,
        description="Roles that speculate. Default: all but prefill.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    draft_role: Annotated[str, Field(max_length=20, pattern=DNS_1035)] | None = Field(
        default=None,
        description="Role whose groups run the draft model, for engines that can ask another server for guesses. "
        "Default: on the same accelerators.",
    )
    disable_above_running: int | None = Field(
        default=None,
        ge=1,
        le=100000,
        description="No guesses while a group runs more requests than this; for engines that can.",
    )
    enabled: bool = Field(default=True, description="False: kept in the manifest, off in the engine.")


class KvTransfer(ApiModel):
    """How a prefill group hands the KV cache to a decode group."""

    connector: str = Field(
        max_length=63,
        pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        description="The engine's name for it.",
        examples=["NixlConnector"],
    )
    port: int | None = Field(default=None, ge=1, le=65535, description="Side channel's port, if it has one.")
    parameters: dict[str, Annotated[str, Field(max_length=MAX_TEXT)]] = Field(
        default_factory=dict, max_length=32, description="Further settings, in the engine's words."
    )


class GatewayRef(ApiModel):
    """A Gateway of the Gateway API."""

    name: str = Field(max_length=253, pattern=SUBDOMAIN, description="Gateway.")
    namespace: str | None = Field(
        default=None, max_length=63, pattern=DNS_1123, description="Its namespace; default: the service's."
    )
    hostnames: tuple[Annotated[str, Field(max_length=253)], ...] = Field(
        default=(), max_length=16, description="Host names that the route answers to; none = all."
    )


class InferencePoolRef(ApiModel):
    """An InferencePool with an endpoint picker, of the Gateway API inference extension."""

    endpoint_picker: str = Field(
        max_length=63, pattern=DNS_1035, description="Service of the endpoint picker, in the same namespace."
    )
    port: int = Field(default=9002, ge=1, le=65535, description="Its gRPC port.")
    metrics_port: int = Field(
        default=9090,
        ge=1,
        le=65535,
        description="Its metrics port; requests that it holds wake a role that was scaled to zero.",
    )
    failure_mode: str = Field(
        default="FailOpen", pattern="^(FailOpen|FailClose)$", description="What happens without a picker."
    )


class Routing(ApiModel):
    """How requests come in."""

    port: int = Field(default=80, ge=1, le=65535, description="Port of the Services.")
    role: Annotated[str, Field(max_length=20, pattern=DNS_1035)] | None = Field(
        default=None,
        description="Role that requests go to first. Default: `serve`, else `decode`, else the first role.",
    )
    gateway: GatewayRef | None = Field(default=None, description="Attach an HTTPRoute to this Gateway.")
    inference_pool: InferencePoolRef | None = Field(
        default=None, description="Also make an InferencePool; the HTTPRoute then goes to it."
    )
