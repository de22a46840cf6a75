"""Who admits gangs and finds their nodes: this operator, or a scheduler or queue that the cluster has."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Backend(StrEnum):
    """Who admits the gang."""

    BUILTIN = "builtin"
    NATIVE = "native"
    KUEUE = "kueue"
    VOLCANO = "volcano"
    COSCHEDULING = "coscheduling"
    KAI = "kai"


BACKENDS: Final = tuple(b.value for b in Backend)

SAYS: Final = (
    "`builtin`: this operator. `native`: Kubernetes' own PodGroups. `kueue`, `volcano`, `coscheduling`, `kai`: "
    "the scheduler or queue of that name."
)
