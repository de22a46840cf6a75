"""From pydantic's complaints to ours: the field's path on the wire, what was given, what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from drumline.api.errors import FieldError

GIVEN_LENGTH: Final = 80

# What is allowed, by pydantic's type of error; {names} come from the error's context.
ALLOWED: Final[Mapping[str, str]] = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "enum": "{expected}",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "too_long": "at most {max_length} items",
    "too_short": "at least {min_length} items",
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of 64 bits",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "mapping_type": "an object",
}


def path_of(parts: tuple[str | int, ...], prefix: str) -> str:
    """A path as in a manifest: ``spec.helpers[0].name``."""
    path = prefix
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def given(value: Any) -> str:
    """What was given, shortened to fit a message."""
    text = repr(value)
    return text if len(text) <= GIVEN_LENGTH else text[: GIVEN_LENGTH - 1] + "…"


def wire_names(model: type[BaseModel]) -> tuple[str, ...]:
    """Names of a model's fields on the wire."""
    return tuple(field.alias or name for name, field in model.model_fields.items())


def field_errors(error: ValidationError, model: type[BaseModel], prefix: str) -> tuple[FieldError, ...]:
    """Each complaint about an input of `model` that lies at `prefix`."""
    return tuple(
        FieldError(path_of(detail["loc"], prefix), _message(detail, model))
        for detail in error.errors(include_url=False)
    )


def _message(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        owner = _model_at(model, detail["loc"][:-1])
        return f"unknown field; allowed: {', '.join(wire_names(owner))}"
    if kind == "missing":
        return f"required, given nothing; allowed: {_description(model, detail['loc'])}"
    if kind == "value_error":
        return f"given {given(detail['input'])}; {context['error']}"
    template = ALLOWED.get(kind)
    allowed = template.format(**context) if template else detail["msg"].lower()
    return f"given {given(detail['input'])}; allowed: {allowed}"


def _description(model: type[BaseModel], loc: tuple[str | int, ...]) -> str:
    """What a field is described as, as the end of a sentence."""
    fields = _model_at(model, loc[:-1]).model_fields
    named = (field for name, field in fields.items() if loc[-1] in (name, field.alias))
    return next((field.description.rstrip(".") for field in named if field.description), "a value")


def _model_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> type[BaseModel]:
    """The model that a path leads to from `model`; indices stay within the field's model."""
    for part in loc:
        for name, field in model.model_fields.items():
            if part in (name, field.alias):
                model = nested_model(field.annotation) or model
    return model


def nested_model(annotation: Any) -> type[BaseModel] | None:
    """The model within an annotation such as ``tuple[Helper, ...]`` or ``Price | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := nested_model(arg))), None)
