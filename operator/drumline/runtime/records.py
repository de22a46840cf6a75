"""What the reflectors keep of the objects that jobs consist of, beside nodes and pods."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drumline.api.candidates import choices, with_candidate
from drumline.api.catalog import Catalog
from drumline.api.errors import FieldError
from drumline.api.meta import ANNOTATION_DIGEST, GROUP
from drumline.api.shape import GangShape, resolve_shape
from drumline.api.status import TrainingJobStatus
from drumline.api.training import TrainingJobSpec
from drumline.api.validation import parse_spec, validate_job
from drumline.core.gang.discovery import Published
from drumline.core.gang.names import controller_uid
from drumline.core.training.elastic import resized, slices_of
from drumline.core.training.members import Roster, roster
from drumline.core.training.observation import JobMeta
from drumline.core.training.request import gang_request
from drumline.runtime.record_meta import read_meta

Document = Mapping[str, Any]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A TrainingJob as it stands in the API."""

    meta: JobMeta
    spec: TrainingJobSpec | None  # the effective one: with the candidate and the slices of its status
    errors: tuple[FieldError, ...]
    shape: GangShape | None
    roster: Roster | None
    status: TrainingJobStatus
    catalog: Catalog  # what it was judged by
    wanted: int = 0  # slices, where the attempt has another number; see `elastic`

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name)."""
        return self.meta.namespace, self.meta.name

    @property
    def wanted_chips(self) -> int:
        """Chips of the gang as large as it is wanted; 0 without a valid spec."""
        shape = self.shape
        return shape.chips // shape.slices * (self.wanted or shape.slices) if shape is not None else 0


@dataclass(frozen=True, slots=True)
class OwnedRecord:
    """An object of ours of any simple kind. `owner` is the controller's uid, "" when there is none."""

    namespace: str
    name: str
    uid: str
    owner: str
    owner_text: str = ""  # "Deployment/web", for messages
    document: Document | None = None  # a revision's name, uid, number and data
    digest: str = ""  # of what was last applied, as an annotation says


@dataclass(frozen=True, slots=True)
class SliceRecord:
    """An EndpointSlice or Endpoints object of ours."""

    namespace: str
    name: str
    owner: str
    published: Published


@dataclass(frozen=True, slots=True)
class _Parsed:
    generation: int
    catalog: Catalog
    form: TrainingJobSpec | None  # well-formed, whatever the catalogue says
    spec: TrainingJobSpec | None
    errors: tuple[FieldError, ...]
    shape: GangShape | None
    roster: Roster | None


class JobReader:
    """Reads TrainingJobs; a spec is parsed once per generation.

    A job keeps the catalogue that it was first judged by until `judged` brings it to the one in force, `catalog`.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._parsed: dict[str, _Parsed] = {}

    def read(self, document: Document) -> JobRecord:
        """The record of a TrainingJob. A spec that does not hold gives errors, never an exception."""
        meta = read_meta(document)
        parsed = self._parse(document["metadata"], document.get("spec") or {})
        status = TrainingJobStatus.model_validate(document.get("status") or {})
        return _record(meta, parsed, status)

    def judged(self, record: JobRecord) -> JobRecord:
        """The record by the catalogue in force; the very same where that changes nothing for its accelerator.

        A job that has a placement keeps the catalogue of its attempt, and with it the attempt's rendering.
        """
        parsed = self._parsed.get(record.meta.uid)
        if parsed is None or parsed.form is None or record.status.placement is not None:
            return record
        accelerator = parsed.form.accelerator
        kinds = {accelerator.type, *(c.type for c in accelerator.candidates)}
        same = all(parsed.catalog.get(kind) == self.catalog.get(kind) for kind in kinds)
        if parsed.catalog is self.catalog or same:
            return record
        fresh = self._judge(record.meta.name, parsed.generation, parsed.form, self.catalog)
        self._parsed[record.meta.uid] = fresh
        return _record(record.meta, fresh, record.status)

    def forget(self, uid: str) -> None:
        """The job is gone."""
        self._parsed.pop(uid, None)

    def _parse(self, metadata: Document, raw: Document) -> _Parsed:
        generation = metadata.get("generation", 1)
        known = self._parsed.get(metadata["uid"])
        if known is not None and known.generation == generation:
            return known
        catalog = self.catalog if known is None else known.catalog
        form, errors = parse_spec(raw)
        if form is None or errors:
            parsed = _Parsed(generation, catalog, None, None, tuple(errors), None, None)
        else:
            parsed = self._judge(metadata["name"], generation, form, catalog)
        self._parsed[metadata["uid"]] = parsed
        return parsed

    def _judge(self, name: str, generation: int, form: TrainingJobSpec, catalog: Catalog) -> _Parsed:
        try:
            return self._checked(name, generation, form, catalog)
        except Exception as error:  # noqa: BLE001 - whatever a template holds, it ends as InvalidSpec
            logger.warning("cannot read the spec of %s: %s", name, error)
            problem = FieldError("spec.template", f"cannot be read: {type(error).__name__}: {error}")
            return _Parsed(generation, catalog, form, None, (problem,), None, None)

    def _checked(self, name: str, generation: int, form: TrainingJobSpec, catalog: Catalog) -> _Parsed:
        errors = tuple(validate_job(name, form, catalog))
        if errors:
            return _Parsed(generation, catalog, form, None, errors, None, None)
        shape = resolve_shape(form, catalog)
        # the template goes through the very code that will render it: what that can't read is refused now
        for number in range(choices(form)):
            meta = JobMeta("", name, "", generation, "", 0.0)
            gang_request(meta, with_candidate(form, number), catalog, queued_at=0.0)
        members = roster(name, form, shape.workers_per_slice)
        return _Parsed(generation, catalog, form, form, (), shape, members)


def _record(meta: JobMeta, parsed: _Parsed, status: TrainingJobStatus) -> JobRecord:
    spec, shape, members, wanted = parsed.spec, parsed.shape, parsed.roster, 0
    if spec is not None and status.candidate:
        spec = with_candidate(spec, status.candidate)
        shape = resolve_shape(spec, parsed.catalog)
        members = roster(meta.name, spec, shape.workers_per_slice)
    if spec is not None and shape is not None and slices_of(spec, status) != spec.slices:
        wanted = spec.slices
        spec, shape, members = resized(meta.name, spec, shape, slices_of(spec, status))
    errors = parsed.errors or _misfit(members, status)
    if errors:
        return JobRecord(meta, None, errors, None, None, status, parsed.catalog)
    return JobRecord(meta, spec, (), shape, members, status, parsed.catalog, wanted)


def _misfit(members: Roster | None, status: TrainingJobStatus) -> tuple[FieldError, ...]:
    """An attempt that began under another catalogue may have another number of pods than one would have now."""
    live = bool(status.attempts) and status.attempts[-1].finished_at is None
    if members is None or status.placement is None or not live or status.placement.pods == members.size:
        return ()
    text = (
        f"the catalogue now gives it {members.size} pods, and its attempt began with {status.placement.pods}"
    )
    return (FieldError("spec.accelerator", text),)


def read_owned(document: Document) -> OwnedRecord:
    """The record of an object of which no more is of interest than whose it is, or of a ControllerRevision."""
    metadata = document["metadata"]
    content = None
    if "data" in document:
        names = {"name": metadata["name"], "uid": metadata["uid"]}
        content = {"metadata": names, "revision": document.get("revision", 0), "data": document["data"]}
    return OwnedRecord(
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        controller_uid(metadata),
        _owner_text(metadata),
        content,
        (metadata.get("annotations") or {}).get(ANNOTATION_DIGEST, ""),
    )


def read_slice(document: Document) -> SliceRecord:
    """The record of an EndpointSlice."""
    metadata = document["metadata"]
    published = tuple(
        (e.get("hostname", ""), tuple(e.get("addresses") or ())) for e in document.get("endpoints") or ()
    )
    return SliceRecord(metadata["namespace"], metadata["name"], controller_uid(metadata), published)


def read_endpoints(document: Document) -> SliceRecord:
    """The record of an Endpoints object."""
    metadata = document["metadata"]
    addresses = [a for s in document.get("subsets") or () for a in s.get("addresses") or ()]
    published = tuple((a.get("hostname", ""), (a["ip"],)) for a in addresses)
    return SliceRecord(metadata["namespace"], metadata["name"], controller_uid(metadata), published)


def _owner_text(metadata: Document) -> str:
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller"):
            group = str(reference.get("apiVersion", "")).partition("/")[0]
            kind = reference.get("kind", "")
            return (
                f"{kind}.{group}/{reference.get('name')}"
                if group == GROUP
                else f"{kind}/{reference.get('name')}"
            )
    return ""
