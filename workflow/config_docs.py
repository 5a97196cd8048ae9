"""The configuration's JSON schema and reference page, generated from its classes."""

import json
from collections.abc import Callable, Iterator
from typing import Any, get_origin

from pydantic.fields import FieldInfo

from workflow.config_model import Config, Section, nested_section


def config_schema() -> str:
    """Return the JSON schema of the configuration as text."""
    return json.dumps(Config.model_json_schema(), indent=1) + "\n"


def config_reference() -> str:
    """Return the reference page of the configuration as Markdown."""
    rows = "\n".join(
        f"| `{key}` | {kind} | {default} | {text} |" for key, kind, default, text in _keys(Config)
    )
    return f"""# Configuration

Every key of a configuration file, generated from `workflow/config_model` by
`python -m workflow schema`. A key that is not listed here, or a value out of range, stops a run
before any job starts. `config/quickstart.yaml` and `config/jetclass2.yaml` are complete examples.

| Key | Type | Default | Meaning |
|---|---|---|---|
{rows}
"""


def _keys(model: type[Section], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield (key, type, default, description) of every leaf, depth first."""
    properties = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        key = field.alias or name
        section = nested_section(field.annotation)
        if section is None:
            kind = _type_of(properties[key])
            yield f"{prefix}{key}", kind, _default(field), str(field.description)
        else:
            several = get_origin(field.annotation) is dict
            yield from _keys(section, f"{prefix}{key}.{'<name>.' if several else ''}")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "none" if value in (None, {}) else f"`{str(value).lower()}`"


def _type_of(field: dict[str, Any]) -> str:
    """Write a field's type and range: `integer, 1 to 1000`."""
    kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
    return " or ".join(dict.fromkeys(_one_type(kind) for kind in kinds))


def _one_type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    kind = {"object": "mapping", "array": "list"}.get(field["type"], field["type"])
    low, high = (field.get("minimum", field.get("exclusiveMinimum")), field.get("maximum"))
    if high is not None:
        return f"{kind}, {low} to {high}"
    return f"{kind}, at least {low}" if low is not None else kind


GENERATED: dict[str, Callable[[], str]] = {
    "workflow/schemas/config.schema.json": config_schema,
    "docs/configuration.md": config_reference,
}
