"""CEL rules of the AcceleratorQueue CRD: what admission refuses with no webhook.

That no accelerator has two quotas follows from the list's key. What CEL can't refuse (the catalogue, two defaults, what is
no label in matchLabels) is a condition of the queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from drumline.api.rules import Rule, rule

_WITH_VALUES: Final = "self.operator in ['In', 'NotIn']"


def queue_rules() -> Mapping[str, list[Rule]]:
    """Every rule by the path of the schema that it hangs at; ``[]`` is a list's item."""
    return {
        "spec": [
            rule(
                f"has(self.cohort) || !has(self.quotas) || self.quotas.all(q, !has(q.{limit}))",
                f"{limit} is allowed only with a cohort",
                ".cohort",
            )
            for limit in ("borrowingLimit", "lendingLimit")
        ],
        "spec.quotas[]": [
            rule(
                "!has(self.lendingLimit) || self.lendingLimit <= self.nominalQuota",
                "lendingLimit is at most the nominalQuota beside it",
                ".lendingLimit",
            )
        ],
        "spec.namespaceSelector.matchExpressions[]": [
            rule(
                f"({_WITH_VALUES}) == (has(self.values) && size(self.values) > 0)",
                "values are required with operator In or NotIn, and not allowed with Exists or DoesNotExist",
                ".values",
            )
        ],
    }
