"""What all facts of a scenario share: frozen, no unknown keys, units read by the name of the attribute."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    Strict,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from acesim.scenario.units import Dimension, Range, checked, dimension_of, no_unit, parse, spell, without_unit

MOST = 10**9
"""More of anything is a slip of the finger, and some of it would be counted one by one."""
Whole = Annotated[int, Strict()]
Positive = Annotated[int, Strict(), Field(ge=1, le=MOST)]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, StringConstraints(strict=True, min_length=1)]

FROM_YAML: Mapping[str, bool] = MappingProxyType({"units_required": True})
"""The validation context of a scenario file: a bare number where a unit is due is then an error, not SI."""


def is_yaml(info: ValidationInfo) -> bool:
    """Does the value come from a scenario file?"""
    return bool(info.context and info.context.get("units_required"))


class Fact(BaseModel):
    """The base of everything in a scenario.

    The key in YAML is the attribute's name without its unit; there values are text with a unit.  In Python
    the attribute's own name works too, and takes plain SI numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=without_unit,
                              populate_by_name=True, allow_inf_nan=False, protected_namespaces=())

    @field_validator("*", mode="before")
    @classmethod
    def _with_unit(cls, value: Any, info: ValidationInfo) -> Any:
        dimension = dimension_of(info.field_name or "")
        if dimension is None or value is None:
            return value
        types = _types(cls.model_fields[info.field_name or ""].annotation)
        quantity = _quantity(dimension, value, is_yaml(info))
        return quantity if Range in types else _scalar(quantity, whole=int in types)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any,
                                     handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core_schema))
        for name, field in cls.model_fields.items():
            dimension = dimension_of(name)
            if dimension is not None:
                optional = type(None) in _types(field.annotation)
                spelled = _quantity_schema(dimension, field.default, optional)
                schema["properties"][without_unit(name)] = spelled
        return schema


def _types(annotation: Any) -> tuple[Any, ...]:
    return (annotation, *get_args(annotation))


def _quantity(dimension: Dimension, value: Any, from_yaml: bool) -> Range:
    if isinstance(value, str):
        return parse(dimension, value)
    if from_yaml and isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(no_unit(dimension))
    if isinstance(value, Mapping) and not from_yaml and set(value) == {"low", "high"}:
        value = Range(**value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = Range(value, value)
    if not isinstance(value, Range):
        raise ValueError(f"must be a {dimension.noun}, for example {dimension.example}")
    for end in (value.low, value.high):
        checked(dimension, end)
    return value


def _scalar(quantity: Range, whole: bool) -> float:
    if not quantity.is_constant:
        raise ValueError("must be one value, not a range")
    if whole and not quantity.low.is_integer():
        raise ValueError("must be a whole number")
    return int(quantity.low) if whole else quantity.low


def _quantity_schema(dimension: Dimension, default: Any, optional: bool) -> dict[str, Any]:
    spelled: dict[str, Any] = {"type": ["string", "null"] if optional else "string",
                               "pattern": dimension.pattern,
                               "description": f"a {dimension.noun}, for example {dimension.example}"}
    if isinstance(default, int | float | Range):
        spelled["default"] = spell(dimension, default)
    return spelled


def parameter(value: Any) -> Any:
    """Let through what a recipe may be given: a number, text, true or false, null, or a list of these."""
    if isinstance(value, list | tuple):
        return [parameter(part) for part in value]
    if isinstance(value, int) and abs(value) > MOST:
        raise ValueError(f"a whole number must be at most {MOST:.0e}, either way")
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and abs(value) < float("inf"):
        return value
    raise ValueError("must be a finite number, text, true, false, null, or a list of these")
