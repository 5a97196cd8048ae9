"""What every section of the configuration is made of: names, values, files."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

ROOT = Path(__file__).parents[2]

LARGEST_SEED = 2**64 - 1
NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"

Name = Annotated[str, Field(pattern=NAME, max_length=64)]
Value = bool | int | float | str | None | list[int] | list[float] | list[str]


class Section(BaseModel):
    """A part of the configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def existing_file(path: str) -> str:
    """Return a path of the configuration, which is relative to the project's root or absolute."""
    try:
        found = (ROOT / path).is_file()
    except (OSError, ValueError):  # too long, or with a null byte
        found = False
    if not found:
        raise ValueError("no such file (relative to the project's root, or absolute)")
    return path


def nested_section(annotation: Any) -> type[Section] | None:
    """Return the section that a key holds, alone, optionally, or several by name."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    inner = getattr(annotation, "__args__", ())
    return next((found for item in inner if (found := nested_section(item))), None)
