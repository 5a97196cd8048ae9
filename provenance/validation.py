"""Checking what people write against a model, and saying what is wrong with which key.

Values are checked as JSON: a list is a list and a whole number a number, but `true` is no number
and `'1'` is no seed.
"""

import json
import types
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError

from provenance.errors import UserError

Model = TypeVar("Model", bound=BaseModel)

# Of a sentence: more mistakes than this are counted only.
MOST_MISTAKES = 8
MOST_CHARACTERS = 80
# What pydantic calls by JSON's names.
NAMES = {
    "Input should be an object": "Input should be a mapping of keys to values",
    "Input should be a valid array": "Input should be a list",
}


def checked(model: type[Model], content: dict[str, Any]) -> Model:
    """Return the content as the model.

    Parameters
    ----------
    model
        What it must be.
    content
        Keys and plain values, as YAML holds them.

    Raises
    ------
    UserError
        Naming each wrong key, its value and what would be right.
    """
    try:
        return model.model_validate_json(json.dumps(_plain(content)), strict=True)
    except ValidationError as error:
        mistakes = list(_mistakes(error, model))
    more = len(mistakes) - MOST_MISTAKES
    said = mistakes[:MOST_MISTAKES] + ([f"and {more} more mistakes"] if more > 0 else [])
    raise UserError("; ".join(said))


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; what YAML knows beyond that becomes text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _mistakes(error: ValidationError, model: type[BaseModel]) -> Iterable[str]:
    """Yield one sentence for each wrong key; those of a union's members are joined."""
    sentences: dict[str, list[str]] = {}
    values: dict[str, str] = {}
    for item in error.errors():
        keys, owner = _follow(model, item["loc"])
        key = ".".join(keys)
        if item["type"] == "extra_forbidden":
            said = f"is unknown; known here: {', '.join(_fields(owner))}"
        elif item["type"] == "missing":
            said = "is missing"
        else:
            values[key] = _shown(item["input"])
            said = item["msg"].removeprefix("Value error, ")
            for json_name, yaml_name in NAMES.items():
                said = said.replace(json_name, yaml_name)
        sentences.setdefault(key, []).append(said)
    for key, reasons in sentences.items():
        first, *others = dict.fromkeys(reasons)
        reason = " or ".join([first, *(text.removeprefix("Input should be ") for text in others)])
        if not key:
            yield reason
        elif key in values:
            yield f"{key} = {values[key]}: {reason}"
        else:
            yield f"{key} {reason}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 3]}..."


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    """Return the annotation of each key of a model."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _follow(
    model: type[BaseModel], location: Sequence[str | int]
) -> tuple[list[str], type[BaseModel]]:
    """Return the keys that lead to a mistake, and the model that the last of them belongs to.

    Pydantic's location also names the member of a union that was tried: it is no key.
    """
    keys: list[str] = []
    kinds: list[Any] = [model]
    owner = model
    for step in location:
        if step == "[key]":
            continue
        if len(kinds) > 1:
            kinds = [next((kind for kind in kinds if str(step) in _names(kind)), kinds[0])]
            continue
        keys.append(str(step))
        kind = _bare(kinds[0]) if kinds else None
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            owner = kind
        kinds = _members(_inside(kind, str(step)))
    return keys, owner


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _members(kind: Any) -> list[Any]:
    """Return the members of a union, None left out; of anything else itself."""
    if get_origin(_bare(kind)) in (Union, types.UnionType):
        return [member for member in get_args(_bare(kind)) if member is not types.NoneType]
    return [] if kind is None else [kind]


def _names(member: Any) -> set[str]:
    """Return how pydantic may call a member of a union."""
    tags = {item.tag for item in get_args(member)[1:] if isinstance(item, Tag)}
    kind = _bare(member)
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return {*tags, str(kind), getattr(kind, "__name__", "")}
    literals = [
        value
        for field in kind.model_fields.values()
        if get_origin(field.annotation) is Literal
        for value in get_args(field.annotation)
    ]
    return {*tags, kind.__name__, *map(str, literals)}


def _inside(kind: Any, key: str) -> Any:
    """Return the annotation of what a mapping, a list or a model holds under a key."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _fields(kind).get(key)
    arguments = get_args(kind)
    if get_origin(kind) is tuple and key.isdigit() and Ellipsis not in arguments:
        return arguments[int(key)] if int(key) < len(arguments) else None
    if get_origin(kind) is tuple:
        return arguments[0]
    return arguments[-1] if arguments else None
