"""Validation of an AcceleratorQueue beyond its schema: everything that needs no cluster.

As with TrainingJobs (`drumline.api.validation`): form first, then sense. What CEL can refuse, the CRD refuses too
(`drumline.api.rules_queue`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from drumline.api.catalog import Catalog
from drumline.api.errors import FieldError
from drumline.api.queue import AcceleratorQueueSpec, SelectorOperator
from drumline.api.training import LABEL_KEY
from drumline.api.wire import field_errors

_LABEL_KEY: Final = re.compile(LABEL_KEY)
_WITH_VALUES: Final = (SelectorOperator.IN, SelectorOperator.NOT_IN)


def parse_queue(raw_spec: Any) -> tuple[AcceleratorQueueSpec | None, tuple[FieldError, ...]]:
    """A queue's spec as it stands in a manifest, or everything that is wrong with it but for the catalogue."""
    if not isinstance(raw_spec, Mapping):
        return None, (FieldError("spec", f"given {type(raw_spec).__name__}; allowed: an object"),)
    try:
        spec = AcceleratorQueueSpec.model_validate_json(json.dumps(raw_spec, default=str), strict=True)
    except ValidationError as error:
        return None, field_errors(error, AcceleratorQueueSpec, prefix="spec")
    except (RecursionError, TypeError, ValueError) as error:
        return None, (FieldError("spec", f"given a value that is no JSON ({error}); allowed: JSON"),)
    errors = (*_quota_errors(spec), *_selector_errors(spec))
    return (None if errors else spec), errors


def unknown_accelerators(spec: AcceleratorQueueSpec, catalog: Catalog) -> tuple[FieldError, ...]:
    """Quotas of what the catalogue does not know: nothing can ever use them. The others hold."""
    known = ", ".join(sorted(catalog))
    return tuple(
        FieldError(
            f"spec.quotas[{n}].accelerator", f"unknown accelerator {q.accelerator!r}; allowed: {known}"
        )
        for n, q in enumerate(spec.quotas)
        if q.accelerator not in catalog
    )


def _quota_errors(spec: AcceleratorQueueSpec) -> Iterator[FieldError]:
    counts = Counter(quota.accelerator for quota in spec.quotas)
    for number, quota in enumerate(spec.quotas):
        path = f"spec.quotas[{number}]"
        if counts[quota.accelerator] > 1:
            yield FieldError(f"{path}.accelerator", f"given {quota.accelerator!r} twice; allowed: once")
        limits = {"borrowingLimit": quota.borrowing_limit, "lendingLimit": quota.lending_limit}
        for name, given in limits.items():
            if given is not None and spec.cohort is None:
                yield FieldError(f"{path}.{name}", f"given {given} without spec.cohort; allowed: absent")
        if quota.lending_limit is not None and quota.lending_limit > quota.nominal_quota:
            text = f"given {quota.lending_limit}; allowed: at most nominalQuota, {quota.nominal_quota}"
            yield FieldError(f"{path}.lendingLimit", text)


def _selector_errors(spec: AcceleratorQueueSpec) -> Iterator[FieldError]:
    selector = spec.namespace_selector
    for key in selector.match_labels if selector is not None else ():
        if not _LABEL_KEY.fullmatch(key):
            yield FieldError("spec.namespaceSelector.matchLabels", f"given {key!r}; allowed: keys of labels")
    for number, term in enumerate(selector.match_expressions if selector is not None else ()):
        if (term.operator in _WITH_VALUES) != bool(term.values):
            allowed = "at least one value" if term.operator in _WITH_VALUES else "no values"
            text = f"given {len(term.values)} values with operator {term.operator.value}; allowed: {allowed}"
            yield FieldError(f"spec.namespaceSelector.matchExpressions[{number}].values", text)
