"""CEL selectors of DeviceClasses and claims, evaluated on devices. The only module that imports `celpy`.

A selector is evaluated once for all devices that look alike to it: those that agree in their driver and in every
attribute and capacity whose name occurs in the expression. Where an expression may read more than it names (it walks
over a map, or puts names together) devices have to agree in everything.

Beside the standard library the functions of Kubernetes' for quantities, versions and letter case are known. What is
not known (macros of extensions, such as ``cel.bind`` and optional syntax) is an error by name, never a guess: as
strict as the library is about types, where it is stricter than Kubernetes the selector is refused, not misread.

Whoever may write a claim template may write a selector. So what one may cost is bounded (`MAX_LENGTH`, `MAX_MACROS`,
`MAX_ANSWERS`, `MAX_SECONDS`), and a selector that costs more is refused by name. The operator has them evaluated in a process of
their own (`device_answers`); `Selectors` evaluates in place.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache, total_ordering
from time import thread_time
from typing import Any, Final

from drumline.core.gang.device_asks import SelectorError
from drumline.core.gang.devices import Device, Version
from drumline.core.gang.quantity import canonical

MAX_EXPRESSIONS: Final = 1024  # that are remembered
MAX_SHOWN: Final = 200  # characters of an expression in an error
MAX_LENGTH: Final = 1024  # characters of an expression; Kubernetes allows ten times as many
MAX_MACROS: Final = 1  # walks over lists and maps in one expression: a walk within a walk has no end in sight
MAX_ANSWERS: Final = 256  # kinds of devices that one expression may tell apart
MAX_SECONDS: Final = 2.0  # of processor time for one expression, on all devices
_MACROS: Final = re.compile(r"\.\s*(?:all|exists|exists_one|filter|map)\s*\(")
_WALKS: Final = re.compile(
    r"\+|\b(all|exists|exists_one|filter|map|size)\b|\bdevice\.(attributes|capacity)\s*(?![\[.\s])"
)
_SEMVER: Final = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?"
)
_LAST: Final = "\uffff"  # sorts after every identifier: a release comes after its pre-releases

Looks = tuple[Any, ...]


class Selectors:
    """Evaluates selectors, and remembers the answers. `clock` tells the processor time used, in seconds."""

    def __init__(self, clock: Callable[[], float] = thread_time) -> None:
        self._clock = clock
        self._known: OrderedDict[str, Selector] = OrderedDict()

    def __call__(self, expression: str, device: Device, _namespaces: Collection[str] = ()) -> bool:
        """Whether the expression holds for a device. SelectorError."""
        known = remembered(self._known, expression)
        looks = known.looks(device)
        answer = known.refused or known.answers.get(looks)
        if answer is None:
            began = self._clock()
            known.answers[looks] = evaluate(expression, device)
            if len(known.answers) > 1:  # the first one has the library loaded and the expression compiled
                known.spend(self._clock() - began)
            answer = known.refused or known.answers[looks]
        return told(expression, device, answer)


def remembered(known: OrderedDict[str, Selector], expression: str) -> Selector:
    """What is known of an expression; of more than so many, those that came first are forgotten."""
    found = known.get(expression)
    if found is None:
        found = known[expression] = Selector(expression)
        if len(known) > MAX_EXPRESSIONS:
            known.popitem(last=False)
    return found


def told(expression: str, device: Device, answer: bool | str) -> bool:
    """An answer; if it is a text, SelectorError with that."""
    if isinstance(answer, bool):
        return answer
    shown = expression if len(expression) <= MAX_SHOWN else f"{expression[: MAX_SHOWN - 1]}…"
    raise SelectorError(f"selector {shown!r} on device {'/'.join(device.id)}: {answer}")


class Selector:
    """One expression, and what it says of devices that look alike to it."""

    def __init__(self, expression: str) -> None:
        self.answers: dict[Looks, bool | str] = {}
        self.asked: set[Looks] = set()  # of which the answer is being found out
        self.refused = _too_much(expression)  # why it is not evaluated; "" if it is
        self.spent = 0.0  # seconds of processor time
        self._expression = expression
        self._walks = _WALKS.search(expression) is not None
        self._seen: dict[tuple[str, ...], tuple[str, ...]] = {}  # names that a device has → those that matter

    def spend(self, seconds: float) -> None:
        """So much more was spent on it; it may be too much."""
        self.spent += seconds
        if self.spent > MAX_SECONDS:
            self.refused = f"it takes more than {MAX_SECONDS:g} s to evaluate on all devices"

    def looks(self, device: Device) -> Looks:
        """What of a device the expression can see. One that sees too many kinds is refused."""
        if self.refused:
            return ()
        looks = self._visible(device)
        fresh = looks not in self.answers and looks not in self.asked
        if fresh and len(self.answers) + len(self.asked) >= MAX_ANSWERS:
            self.refused = f"it tells more than {MAX_ANSWERS} kinds of devices apart"
        return looks

    def _visible(self, device: Device) -> Looks:
        attributes, capacity = device.attributes, device.capacity
        return (
            device.id[0],
            *[(n, repr(attributes[n])) for n in self._matter(tuple(attributes))],
            None,
            *[(n, capacity[n]) for n in self._matter(tuple(capacity))],
        )

    def _matter(self, names: tuple[str, ...]) -> tuple[str, ...]:
        found = self._seen.get(names)
        if found is None:
            read = (n for n in names if self._walks or n.rpartition("/")[2] in self._expression)
            found = self._seen[names] = tuple(sorted(read))
        return found


def _too_much(expression: str) -> str:
    """Why an expression isn't even compiled; "" if it is."""
    if len(expression) > MAX_LENGTH:
        return f"it has {len(expression)} characters; gang placement evaluates {MAX_LENGTH} at most"
    macros = len(_MACROS.findall(expression))
    if macros > MAX_MACROS:
        return f"it walks over {macros} lists or maps; gang placement evaluates {MAX_MACROS} at most"
    return ""


@total_ordering
class Ordered:
    """A quantity or a version: not a number, but comparable by methods."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ordered) and bool(self.value == other.value)

    def __lt__(self, other: Ordered) -> bool:
        return bool(self.value < other.value)

    def __hash__(self) -> int:
        return hash(self.value)


def quantity(text: str) -> Ordered:
    """A Kubernetes quantity. ValueError."""
    # in thousandths, as the unit of cpu is
    return Ordered(("quantity", canonical("cpu", str(text))))


def version(text: str) -> Ordered:
    """A semantic version, in the order of semver.org. ValueError."""
    found = _SEMVER.fullmatch(str(text))
    if found is None:
        raise ValueError(f"not a semantic version: {text!r}")
    numbers = tuple(int(found[n]) for n in (1, 2, 3))
    before = found[4]
    parts = (
        ((0, int(p), "") if p.isdigit() else (1, 0, p) for p in before.split("."))
        if before
        else ((2, 0, _LAST),)
    )
    return Ordered(("version", numbers, tuple(parts)))


def evaluate(expression: str, device: Device) -> bool | str:
    """What the expression says, or why it says nothing. MemoryError, which may be another expression's doing."""
    try:
        found = _program(expression).evaluate({"device": _variable(device)})
    except MemoryError:
        raise
    except Exception as error:  # whatever it makes of the library, it concerns his gang alone
        if _is_of_memory(error):
            raise MemoryError from error
        text = str(error.args[0] if error.args else error)
        return text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__
    if type(found).__name__ != "BoolType":
        return f"it says {found!r}, which is neither true nor false"
    return bool(found)


def forget_programs() -> None:
    """Let go of what was compiled."""
    _program.cache_clear()


def _is_of_memory(error: BaseException | None) -> bool:
    """Whether the library was out of memory, whatever it made of that."""
    for _ in range(16):  # chains may have no end
        if error is None or isinstance(error, MemoryError):
            break
        error = error.__cause__ or error.__context__
    return isinstance(error, MemoryError)


@lru_cache(maxsize=16)  # a template has no more selectors
def _program(expression: str) -> Any:
    import celpy  # noqa: PLC0415 - loaded where the first selector is

    environment = celpy.Environment()
    return environment.program(environment.compile(expression), functions=_functions())


@lru_cache(maxsize=1)
def _functions() -> dict[str, Any]:
    from celpy import celtypes  # noqa: PLC0415 - loaded where the first selector is

    def case(change: Callable[[str], str]) -> Callable[[Any], Any]:
        # only the letters of ASCII, says Kubernetes
        return lambda text: celtypes.StringType("".join(change(c) if c.isascii() else c for c in text))

    return {
        "quantity": quantity,
        "semver": version,
        "compareTo": lambda a, b: celtypes.IntType((_like(a, b) > b) - (a < b)),
        "isGreaterThan": lambda a, b: celtypes.BoolType(_like(a, b) > b),
        "isLessThan": lambda a, b: celtypes.BoolType(_like(a, b) < b),
        "lowerAscii": case(str.lower),
        "upperAscii": case(str.upper),
    }


def _like(a: Any, b: Any) -> Ordered:
    """`a`, if it can be compared with `b`."""
    if not isinstance(a, Ordered) or not isinstance(b, Ordered) or a.value[0] != b.value[0]:
        raise TypeError("only two quantities or two versions can be compared so")
    return a


def _variable(device: Device) -> Any:
    """The device as expressions see it: by domain, then by name; a domain that it lacks is empty."""
    from celpy import celtypes  # noqa: PLC0415 - loaded where the first selector is

    class Domains(celtypes.MapType):
        """A map that has every key."""

        def __getitem__(self, key: Any) -> Any:
            return super().__getitem__(key) if key in self else celtypes.MapType()

        def get(self, key: Any, default: Any = None) -> Any:
            """The value, or an empty map."""
            return self[key]

    def nested(values: Mapping[str, Any], convert: Callable[[Any], Any]) -> Any:
        domains = Domains()
        for name, value in values.items():
            domain, _, short = name.rpartition("/")
            key = celtypes.StringType(domain)
            if key not in domains:
                domains[key] = celtypes.MapType()
            domains[key][celtypes.StringType(short)] = convert(value)
        return domains

    fields = {
        "driver": celtypes.StringType(device.id[0]),
        "allowMultipleAllocations": celtypes.BoolType(False),
        "attributes": nested(device.attributes, _attribute),
        "capacity": nested(device.capacity, quantity),
    }
    return celtypes.MapType({celtypes.StringType(name): value for name, value in fields.items()})


def _attribute(value: Any) -> Any:
    from celpy.adapter import json_to_cel  # noqa: PLC0415 - loaded where the first selector is

    return version(value.text) if isinstance(value, Version) else json_to_cel(value)
