"""Which queue a gang waits in, by what its owner says and by what queues there are.

1. Without any queue: none, whatever is said. Nothing has a quota then.
2. Named by the field, the label, or both alike: that queue. It has to be there, to hold, and to be for the namespace.
3. Not named: the default queue that selects the namespace. Two of these are a fault, and nobody guesses; without one the
   gang is in no queue and has no quota.

While a namespace has not been seen nothing can be told of its labels, so gangs wait for which these matter: for a moment,
or for as long as the operator may not read namespaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from drumline.api.meta import LABEL_QUEUE
from drumline.api.queue import AcceleratorQueueSpec, NamespaceSelector
from drumline.api.reasons import Reason
from drumline.core.gang.feasibility import holds
from drumline.core.gang.types import Refusal, Requirement

MAX_NAMED: Final = 8  # queues in a message

Labels = Mapping[str, str]
Defaults = dict[str, tuple[str, ...]]  # names of the default queues that select a namespace, by its name


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """An AcceleratorQueue as the API has it."""

    name: str
    spec: AcceleratorQueueSpec | None  # None = it does not hold
    fault: str = ""  # why not

    @property
    def asks_labels(self) -> bool:
        """Whether the labels of a namespace say whether it may use it: not where all may, or none."""
        selector = self.spec.namespace_selector if self.spec is not None else None
        return selector is not None and any(_requirements(selector))

    def selects(self, labels: Labels) -> bool:
        """Whether a namespace with these labels may use it."""
        selector = self.spec.namespace_selector if self.spec is not None else None
        return selector is not None and selected(selector, labels)


Entries = Mapping[str, QueueEntry]  # by name


def selected(selector: NamespaceSelector, labels: Labels) -> bool:
    """Whether labels meet all conditions."""
    return all(holds(requirement, labels, "") for requirement in _requirements(selector))


def asks_namespaces(queues: Iterable[QueueEntry]) -> bool:
    """Whether namespaces have to be known for gangs to be told their queue, or for two defaults to be told apart."""
    known = list(queues)
    defaults = sum(entry.spec is not None and entry.spec.default for entry in known)
    return defaults > 1 or any(entry.asks_labels for entry in known)


def choose(
    field: str | None,
    label: str | None,
    namespace: str,
    labels: Labels | None,
    queues: Entries,
    unseen: str = "",
) -> str | Refusal:
    """The queue's name, "" for none, or why the gang waits.

    `labels` are the namespace's; None = not seen, `unseen` being why none is, "" = not yet.
    """
    if not queues:
        return ""
    if field and label and field != label:
        text = (
            f"spec.queue names queue {field} and the label {LABEL_QUEUE} names {label}; allowed: one of them"
        )
        return Refusal(Reason.QUEUE_AMBIGUOUS, text)
    name = field or label
    if labels is None and _matter(name, queues):
        if unseen:
            return Refusal(Reason.NAMESPACES_UNKNOWN, f"its queue can't be told: {unseen}")
        return Refusal(Reason.QUEUED, f"namespace {namespace} is not known yet")
    known = labels or {}
    return _named(name, namespace, known, queues) if name else _default(namespace, known, queues)


def rivals(
    queues: Entries, namespaces: Mapping[str, Labels], known: Defaults
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Default queues that are not the only one of a namespace: (such a namespace, the others there), by name.

    `known` is kept up here. The caller takes a namespace out of it that has changed, and all when queues have.
    """
    defaults = [entry for entry in queues.values() if entry.spec is not None and entry.spec.default]
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for namespace in sorted(namespaces) if len(defaults) > 1 else ():
        names = known.get(namespace)
        if names is None:
            labels = namespaces[namespace]
            names = known[namespace] = tuple(sorted(e.name for e in defaults if e.selects(labels)))
        for name in names if len(names) > 1 else ():
            found.setdefault(name, (namespace, tuple(n for n in names if n != name)))
    return found


def _matter(name: str | None, queues: Entries) -> bool:
    """Whether a namespace's labels matter to a gang that names that queue, or none."""
    if name:
        return name in queues and queues[name].asks_labels
    return any(e.asks_labels for e in queues.values() if e.spec is not None and e.spec.default)


def _named(name: str, namespace: str, labels: Labels, queues: Entries) -> str | Refusal:
    entry = queues.get(name)
    if entry is None:
        text = f"there is no AcceleratorQueue {name}; there are: {_listed(queues)}"
        return Refusal(Reason.QUEUE_NOT_FOUND, text)
    if entry.spec is None:
        return Refusal(Reason.QUEUE_INVALID, f"AcceleratorQueue {name} can't be used: {entry.fault}")
    if not entry.selects(labels):
        absent = entry.spec.namespace_selector is None
        why = "it has no namespaceSelector" if absent else "its namespaceSelector does not select it"
        text = f"AcceleratorQueue {name} is not for namespace {namespace}: {why}"
        return Refusal(Reason.QUEUE_NOT_ALLOWED, text)
    return name


def _default(namespace: str, labels: Labels, queues: Entries) -> str | Refusal:
    names = sorted(
        entry.name
        for entry in queues.values()
        if entry.spec is not None and entry.spec.default and entry.selects(labels)
    )
    if len(names) > 1:
        text = f"queues {_listed(names)} are each the default of namespace {namespace}; allowed: one default, or "
        return Refusal(Reason.QUEUE_AMBIGUOUS, f"{text}name the queue in spec.queue")
    return names[0] if names else ""


def _listed(names: Iterable[str]) -> str:
    every = sorted(names)
    more = f" and {len(every) - MAX_NAMED} more" if len(every) > MAX_NAMED else ""
    return f"{', '.join(every[:MAX_NAMED])}{more}"


def _requirements(selector: NamespaceSelector) -> Iterator[Requirement]:
    for key, value in selector.match_labels.items():
        yield Requirement(key, "In", (value,))
    for term in selector.match_expressions:
        yield Requirement(term.key, term.operator.value, term.values)
