"""What the reflectors keep of InferenceServices and InferenceRoles."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drumline.api.catalog import Catalog
from drumline.api.errors import FieldError
from drumline.api.inference import InferenceServiceSpec
from drumline.api.inference_status import GroupStatus, InferenceServiceStatus
from drumline.api.validation_inference import parse_service, validate_service
from drumline.core.gang.meta import ObjectMeta
from drumline.core.gang.names import controller_uid
from drumline.core.inference.render_request import group_request
from drumline.runtime.record_meta import read_meta

Document = Mapping[str, Any]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """An InferenceService as it stands in the API."""

    meta: ObjectMeta
    spec: InferenceServiceSpec | None
    errors: tuple[FieldError, ...]
    status: InferenceServiceStatus
    catalog: Catalog  # what it was judged by

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name)."""
        return self.meta.namespace, self.meta.name


@dataclass(frozen=True, slots=True)
class RoleRecord:
    """An InferenceRole. `owner` is the controller's uid, "" when there is none."""

    namespace: str
    name: str
    uid: str
    owner: str
    role: str
    replicas: int
    status: Mapping[str, object] = field(default_factory=dict)
    generation: int = 0


@dataclass(frozen=True, slots=True)
class _Parsed:
    generation: int
    catalog: Catalog
    form: InferenceServiceSpec | None  # well-formed, whatever the catalogue says
    spec: InferenceServiceSpec | None
    errors: tuple[FieldError, ...]


class ServiceReader:
    """Reads InferenceServices; a spec is parsed once per generation and judged once per catalogue."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._parsed: dict[str, _Parsed] = {}

    def read(self, document: Document) -> ServiceRecord:
        """The record of an InferenceService. A spec that does not hold gives errors, never an exception."""
        meta = read_meta(document)
        parsed = self._parse(meta, document.get("spec") or {})
        status = InferenceServiceStatus.model_validate(document.get("status") or {})
        return ServiceRecord(meta, parsed.spec, parsed.errors, status, parsed.catalog)

    def judged(self, record: ServiceRecord) -> ServiceRecord:
        """The record by the catalogue in force; the very same when it is."""
        parsed = self._parsed.get(record.meta.uid)
        if record.catalog is self.catalog or parsed is None or parsed.form is None:
            return record
        fresh = self._judge(record.meta, parsed.form)
        self._parsed[record.meta.uid] = fresh
        return ServiceRecord(record.meta, fresh.spec, fresh.errors, record.status, fresh.catalog)

    def forget(self, uid: str) -> None:
        """The service is gone."""
        self._parsed.pop(uid, None)

    def _parse(self, meta: ObjectMeta, raw: Document) -> _Parsed:
        known = self._parsed.get(meta.uid)
        if known is not None and known.generation == meta.generation:
            return known
        form, errors = parse_service(raw)
        if form is None or errors:
            parsed = _Parsed(meta.generation, self.catalog, None, None, tuple(errors))
        else:
            parsed = self._judge(meta, form)
        self._parsed[meta.uid] = parsed
        return parsed

    def _judge(self, meta: ObjectMeta, form: InferenceServiceSpec) -> _Parsed:
        try:
            errors = tuple(validate_service(meta.name, form, self.catalog))
            if not errors:
                self._render(meta, form)
        except Exception as error:  # noqa: BLE001 - whatever a template holds, it ends as InvalidSpec
            logger.warning("cannot read the spec of %s: %s", meta.name, error)
            errors = (FieldError("spec.roles", f"cannot be read: {type(error).__name__}: {error}"),)
        return _Parsed(meta.generation, self.catalog, form, None if errors else form, errors)

    def _render(self, meta: ObjectMeta, form: InferenceServiceSpec) -> None:
        """Templates go through the very code that will render them: what that can't read is refused now."""
        group = GroupStatus(id=0, revision="")
        for role in form.roles:
            group_request(meta, form, role.name, group, self.catalog, queued_at=0.0)


def read_role(document: Document) -> RoleRecord:
    """The record of an InferenceRole."""
    metadata, spec = document["metadata"], document.get("spec") or {}
    return RoleRecord(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        owner=controller_uid(metadata),
        role=str(spec.get("role", "")),
        replicas=int(spec.get("replicas", 1)),
        status=document.get("status") or {},
        generation=int(metadata.get("generation", 0)),
    )
