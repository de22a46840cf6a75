"""Which objects ``kubectl drumline goodput`` is about: TrainingJobs and InferenceServices, of a file or of a cluster.

A name may say of what kind it is, as kubectl has it: ``infsvc/chat``, ``trainingjob/llama``. One that does not is
looked for among both. Who may read only one of the kinds sees that one.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from typing import Final

from drumline.api.meta import INFERENCE_SERVICE, TRAINING_JOB
from drumline.cli import cluster, manifests
from drumline.cli.goodput_view import named
from drumline.cli.manifests import Manifest

KINDS: Final = (TRAINING_JOB, INFERENCE_SERVICE)
_ALIASES: Final = {
    **dict.fromkeys(("tj", "trainingjob", "trainingjobs", "job"), TRAINING_JOB),
    **dict.fromkeys(("infsvc", "inferenceservice", "inferenceservices", "service"), INFERENCE_SERVICE),
}


def objects(args: Namespace) -> list[Manifest]:
    """What the arguments ask for, TrainingJobs first. InputError, NotFoundError, ClusterError."""
    kinds, name = asked(args.name)
    if args.filename:
        found = [o for o in manifests.accounted(args.filename) if o.get("kind") in kinds]
        wanted = [o for o in found if name in ("", named(o)[0])]
        if name and not wanted:
            raise cluster.NotFoundError(f"{args.filename}: no {_either(kinds)} {name} in it")
        return _one_kind(name, wanted)
    access = cluster.access_of(args)
    namespace = args.namespace or cluster.namespace_of(access)
    if name:
        return _one_kind(name, _named(access, kinds, namespace, name))
    return _all(access, "" if args.all_namespaces else namespace)


def asked(text: str | None) -> tuple[tuple[str, ...], str]:
    """Kinds and name that an argument means. InputError."""
    before, slash, after = (text or "").partition("/")
    if not slash:
        return KINDS, before
    kind = _ALIASES.get(before.lower().partition(".")[0])
    if kind is None or not after:
        raise manifests.InputError(f"{text}: allowed: NAME, trainingjob/NAME or inferenceservice/NAME")
    return (kind,), after


def _named(access: cluster.Access, kinds: tuple[str, ...], namespace: str, name: str) -> list[Manifest]:
    """Those of that name; why not, when there is none."""
    found, errors = _each(kinds, lambda kind: [cluster.get(access, kind, namespace, name)])
    if not found:
        for error in errors.values():
            if len(kinds) == 1 or isinstance(error, cluster.RefusedError):
                raise error
        raise cluster.NotFoundError(f"{_either(kinds)} {namespace}/{name} not found")
    return found


def _all(access: cluster.Access, namespace: str) -> list[Manifest]:
    """Everything; a kind that may not be read is named on standard error, if the other can."""
    found, errors = _each(KINDS, lambda kind: cluster.list_all(access, kind, namespace))
    if len(errors) == len(KINDS):
        raise next(iter(errors.values()))
    for kind, error in errors.items():
        if isinstance(error, cluster.RefusedError):
            sys.stderr.write(f"{kind}s are not shown: {error}\n")
    return found


def _each(
    kinds: tuple[str, ...], read: Callable[[str], list[Manifest]]
) -> tuple[list[Manifest], dict[str, cluster.ClusterError]]:
    """What is found of each kind, and by kind what is not there or may not be read. ClusterError for any other."""
    found: list[Manifest] = []
    errors: dict[str, cluster.ClusterError] = {}
    for kind in kinds:
        try:
            found += read(kind)
        except (cluster.NotFoundError, cluster.RefusedError) as error:
            errors[kind] = error
    return found, errors


def _one_kind(name: str, found: list[Manifest]) -> list[Manifest]:
    if name and len({o.get("kind") for o in found}) > 1:
        raise manifests.InputError(
            f"{name} is both a TrainingJob and an InferenceService; say trainingjob/{name} or infsvc/{name}"
        )
    return found


def _either(kinds: tuple[str, ...]) -> str:
    return " or ".join(kinds)
