"""One object at a time: create, delete, apply, so that doing it twice does no more than once.

What bears a name of ours without being ours is never touched. Whose an object is, is told by the uid of
its controller reference, never by its name or labels. To change an object in place its uid goes along,
so the server itself refuses if another object has taken the name since we looked.

A server-side apply is no safe way to create, since it would merge into a stranger's object: creation is a
plain POST, and every later change an apply with uid.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from drumline.api.meta import LABEL_ATTEMPT
from drumline.core.gang.plan import Apply, Create, Delete, JsonPatch, Manifest, Patch
from drumline.runtime.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    FieldDropped,
    Invalid,
    NameConflict,
    NotFound,
)
from drumline.runtime.expectations import Expectations, Token, creation, deletion
from drumline.runtime.http import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, Client
from drumline.runtime.http_paths import resource_path

FIELD_MANAGER: Final = "drumline"
WATCHED: Final = frozenset({"pods"})
CREATE_TRIES: Final = 6
KNOWN_UIDS: Final = 50_000

Shown = Callable[[str, str], bool]  # (namespace, name) → whether the mirror has that pod

_CORE_KINDS: Final = frozenset({"pods", "services"})  # whose lists merge by key
_PARAMS: Final = {"fieldManager": FIELD_MANAGER}


@dataclass(frozen=True, slots=True)
class Owner:
    """The object a plan is about. `resource` is its plural name."""

    api_version: str
    kind: str
    resource: str
    namespace: str
    name: str
    uid: str
    resource_version: str

    @property
    def path(self) -> str:
        """Its path in the API."""
        return resource_path(self.resource, self.namespace, self.name)


class Objects:
    """Writes the objects of owners. Raises ApiError; NameConflict names what stands in the way."""

    def __init__(
        self,
        client: Client,
        expectations: Expectations,
        shown: Shown = lambda _namespace, _name: True,
        watched: frozenset[str] = WATCHED,
    ) -> None:
        self._client = client
        self._expectations = expectations
        self._watched = watched
        self._shown = shown
        self._uids: OrderedDict[tuple[str, str, str, str], str] = OrderedDict()

    async def create(self, owner: Owner, action: Create) -> bool:
        """True if the object was made now, false if it was there already and is this owner's.

        Raises Conflict while an object of an owner of the same name, since deleted, is still going away.
        """
        token = creation(action.resource, *_name(action.manifest))
        if action.resource in self._watched:
            self._expectations.expect(owner.uid, token)
        try:
            created, version = await self._create(owner, action)
        except FieldDropped as error:
            self._is_there(action, token, error.version)
            raise
        except BaseException:
            self._expectations.met(token)
            raise
        if created:
            self._expectations.made(token, version)
        else:
            self._is_there(action, token, version)
        return created

    def _is_there(self, action: Create, token: Token, version: str) -> None:
        """It may have been made by an earlier try whose answer was lost: the watch may still have to show it."""
        if self._shown(*_name(action.manifest)):
            self._expectations.met(token)
        self._expectations.made(token, version)

    async def delete(self, owner: Owner, action: Delete) -> bool:
        """False if it was gone already, or another object has its name."""
        token = deletion(action.uid)
        if action.resource in self._watched:
            self._expectations.expect(owner.uid, token)
        try:
            path = resource_path(action.resource, action.namespace, action.name)
            done = await self._delete(path, action.uid, action.grace_seconds)
        except BaseException:
            self._expectations.met(token)
            raise
        if not done:
            self._expectations.met(token)
        return done

    async def delete_owner(self, owner: Owner) -> bool:
        """Delete the owner itself; its objects follow by garbage collection."""
        return await self._delete(owner.path, owner.uid, None)

    async def apply(self, owner: Owner, action: Apply) -> None:
        """Make the fields of the manifest so, and nobody else's."""
        key = (owner.uid, action.resource, *_name(action.manifest))
        uid = str(action.manifest["metadata"].get("uid") or "") or self._uids.get(key, "")
        if uid:
            try:
                await self._patch(action, uid)
                return self._remember(key, uid)
            except (Conflict, NotFound, Invalid) as error:
                if isinstance(error, Invalid) and "metadata.uid" not in error.fields:
                    raise
                self._uids.pop(key, None)  # deleted since, and perhaps made anew
        return self._remember(key, await self._create_or_adopt(owner, action))

    async def patch(self, action: Patch) -> bool:
        """Set what the body names; False if the object is gone, or another one has its name."""
        path = resource_path(action.resource, action.namespace, action.name, action.subresource)
        body = {**action.body, "metadata": {"uid": action.uid}}
        content = STRATEGIC_PATCH if action.resource in _CORE_KINDS else MERGE_PATCH
        try:
            await self._client.request("PATCH", path, body=body, params=_PARAMS, content_type=content)
        except NotFound:
            return False
        except (Conflict, Invalid) as error:
            if isinstance(error, Invalid) and "metadata.uid" not in error.fields:
                raise
            return False
        return True

    async def json_patch(self, action: JsonPatch) -> bool:
        """Apply the operations; False if the object is gone, or is not as the first of them says."""
        path = resource_path(action.resource, action.namespace, action.name)
        body = [dict(operation) for operation in action.operations]
        try:
            await self._client.request("PATCH", path, body=body, params=_PARAMS, content_type=JSON_PATCH)
        except (NotFound, Conflict, Invalid):
            return False
        return True

    async def _create(self, owner: Owner, action: Create) -> tuple[bool, str]:
        """Whether it was made now, and its version. Once is enough but for `replace`, and for what vanishes meanwhile."""
        path = resource_path(action.resource, _name(action.manifest)[0])
        for attempt in range(CREATE_TRIES):
            try:
                made = await self._post(path, action.manifest)
                _read_back(action, made)
            except AlreadyExists as error:
                existing = await self._existing(owner, action)
                if existing is not None and not action.replace:
                    _read_back(action, existing)
                    return False, _version(existing["metadata"])
                if existing is not None:
                    await self._delete(f"{path}/{_name(action.manifest)[1]}", _uid(existing), None)
                last: ApiError = error
            except Conflict as error:  # creates of one namespace race for its resource quota
                last = error
            else:
                return True, _version(made["metadata"])
            await asyncio.sleep(0.05 * 2.0**attempt * random.random())  # noqa: S311 - jitter, not a secret
        raise Conflict(last.message, status=409, reason=last.reason, details=last.details)

    async def _create_or_adopt(self, owner: Owner, action: Apply) -> str:
        """Uid of the object, now as the manifest says."""
        path = resource_path(action.resource, _name(action.manifest)[0])
        try:
            made = await self._post(path, action.manifest)
        except AlreadyExists:
            existing = await self._existing(owner, action)
            if existing is None:
                raise
            await self._patch(action, _uid(existing))
            return _uid(existing)
        return _uid(made)

    async def _post(self, path: str, manifest: Manifest) -> Any:
        body = encoded(manifest)
        return await self._client.request("POST", path, body=body, params=_PARAMS, repeatable=True)

    async def _patch(self, action: Apply, uid: str) -> None:
        manifest = dict(action.manifest)
        manifest["metadata"] = {**manifest["metadata"], "uid": uid}
        path = resource_path(action.resource, *_name(manifest))
        params = {**_PARAMS, "force": "true"}
        await self._client.request("PATCH", path, body=manifest, params=params, content_type=APPLY_PATCH)

    async def _delete(self, path: str, uid: str, grace: int | None) -> bool:
        body: dict[str, Any] = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        try:
            await self._client.request("DELETE", path, body=body)
        except (NotFound, Conflict):
            return False
        return True

    async def _existing(self, owner: Owner, action: Create | Apply) -> Manifest | None:
        """The object that has the name, if it is this owner's; None if it has gone meanwhile.

        What is created must be of the same attempt; what is applied moves from attempt to attempt.
        """
        namespace, name = _name(action.manifest)
        try:
            path = resource_path(action.resource, namespace, name)
            found: Manifest = await self._client.request("GET", path)
        except NotFound:
            return None
        metadata = found["metadata"]
        wanted = action.manifest["metadata"] if isinstance(action, Create) else metadata
        _check_owner(owner, f"{action.resource}/{name}", metadata, _attempt(wanted))
        return found

    def _remember(self, key: tuple[str, str, str, str], uid: str) -> None:
        self._uids[key] = uid
        self._uids.move_to_end(key)
        if len(self._uids) > KNOWN_UIDS:
            self._uids.popitem(last=False)


def _read_back(action: Create, answer: Manifest) -> None:
    """Raise FieldDropped if the API server dropped what the object is of no use without."""
    lost = action.kept(action.manifest, answer) if action.kept is not None else ""
    if lost:
        raise FieldDropped(f"the API server dropped {lost} of it", _version(answer["metadata"]))


def encoded(manifest: Manifest) -> bytes:
    """The manifest as JSON. A mapping may bring it along, as attribute `body`."""
    body = getattr(manifest, "body", None)
    return body if isinstance(body, bytes) else orjson.dumps(manifest)


def _name(manifest: Manifest) -> tuple[str, str]:
    return manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def _uid(found: Manifest) -> str:
    return str(found["metadata"]["uid"])


def _version(metadata: Mapping[str, Any]) -> str:
    return str(metadata.get("resourceVersion") or "")


def _attempt(metadata: Mapping[str, Any]) -> str:
    labels = metadata.get("labels") or {}
    return str(labels.get(LABEL_ATTEMPT) or "")


def _check_owner(owner: Owner, what: str, metadata: Mapping[str, Any], attempt: str) -> None:
    """Raise unless the object is this owner's and of this attempt."""
    controller: Mapping[str, Any] = next(
        (ref for ref in metadata.get("ownerReferences") or () if ref.get("controller")), {}
    )
    ours = controller.get("uid") == owner.uid
    if ours and _attempt(metadata) == attempt:
        return
    predecessor = not ours and (controller.get("kind"), controller.get("name")) == (owner.kind, owner.name)
    if predecessor or metadata.get("deletionTimestamp"):
        raise Conflict(f"{what} of an earlier owner is still going away", status=409, reason="Terminating")
    holder = f"{controller['kind']} {controller['name']}" if controller else "no controller"
    raise NameConflict(
        what,
        f"{what} exists and belongs to {holder}: delete it, or give {owner.kind} {owner.name} another name",
    )
