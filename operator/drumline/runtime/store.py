"""What a reflector keeps: projections by (namespace, name), with indices kept up on every change."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
Key = tuple[str, str]  # namespace ("" when cluster-scoped), name
IndexFunction = Callable[[T], Hashable | None]

_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})


class Store(Generic[T]):
    """Objects by key. An index maps each object to one value, or to None to leave it out."""

    def __init__(self, indices: Mapping[str, IndexFunction[T]] | None = None) -> None:
        self._objects: dict[Key, T] = {}
        self._functions = dict(indices or {})
        self._indices: dict[str, dict[Hashable, dict[Key, T]]] = {name: {} for name in self._functions}

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._objects)

    def __contains__(self, key: Key) -> bool:
        return key in self._objects

    def get(self, namespace: str, name: str) -> T | None:
        """The object, or None."""
        return self._objects.get((namespace, name))

    def values(self) -> Collection[T]:
        """Every object: a live view."""
        return self._objects.values()

    def items(self) -> Collection[tuple[Key, T]]:
        """Every key with its object: a live view."""
        return self._objects.items()

    def by(self, index: str, value: Hashable) -> Mapping[Key, T]:
        """Objects whose `index` is `value`: a live view, copy it before awaiting. KeyError: no such index."""
        found = self._indices[index].get(value)
        return _NOTHING if found is None else MappingProxyType(found)

    def values_of(self, index: str) -> Collection[Hashable]:
        """Every value of `index` that some object has: a live view."""
        return self._indices[index].keys()

    def put(self, key: Key, new: T) -> T | None:
        """Add or replace; returns what was there."""
        old = self._objects.get(key)
        self._objects[key] = new
        for name, function in self._functions.items():
            before = None if old is None else function(old)
            after = function(new)
            if before != after and before is not None:
                self._unindex(name, before, key)
            if after is not None:
                self._indices[name].setdefault(after, {})[key] = new
        return old

    def remove(self, key: Key) -> T | None:
        """Remove; returns what was there."""
        old = self._objects.pop(key, None)
        if old is not None:
            for name, function in self._functions.items():
                if (value := function(old)) is not None:
                    self._unindex(name, value, key)
        return old

    def _unindex(self, name: str, value: Hashable, key: Key) -> None:
        group = self._indices[name][value]
        del group[key]
        if not group:
            del self._indices[name][value]
