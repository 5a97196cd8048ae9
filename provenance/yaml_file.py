"""YAML that people write: read once, strictly, or refused in one sentence.

PyYAML takes the last of two equal keys, reads `1e-4` as text and follows aliases wherever they
lead. Here keys are unique, numbers are numbers, and a file whose aliases unfold to more than a
configuration can hold is refused before they do.
"""

import re
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from provenance.errors import UserError

MOST_BYTES = 1 << 18
MOST_VALUES = 100_000
FLOAT_TAG = "tag:yaml.org,2002:float"


class _Loader(yaml.SafeLoader):
    """Plain values only, with the floating-point numbers of YAML 1.2."""


_Loader.add_implicit_resolver(
    FLOAT_TAG, re.compile(r"^[-+]?(\.\d+|\d+(\.\d*)?)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a file of keys and values, YAML or JSON.

    Parameters
    ----------
    path
        The file. An empty one holds no keys.

    Raises
    ------
    UserError
        When it cannot be read, is not UTF-8, not YAML, too large, holds a key twice, or is no
        mapping.
    """
    try:
        with Path(path).open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise UserError(f"{path}: larger than a configuration may be ({MOST_BYTES} bytes)")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from None
    values = parse_yaml(text, str(path))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no mapping of keys to values")
    return values


def parse_yaml(text: str, name: str) -> Any:
    """Return the value that a text holds.

    Parameters
    ----------
    text
        One YAML document.
    name
        What to call it in sentences.

    Raises
    ------
    UserError
        When it is no YAML, holds a key twice, or unfolds to more than `MOST_VALUES` values.
    """
    return deepcopy(_parsed(text, name))


@lru_cache(maxsize=256)
def _parsed(text: str, name: str) -> Any:
    # Every point of a study reads the same few texts.
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, name, {}) > MOST_VALUES:
            raise UserError(f"{name}: unfolds to more than {MOST_VALUES} values")
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{name}: not YAML ({error.problem}{where})") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{name}: not YAML ({str(error).splitlines()[0]})") from None
    except RecursionError:
        raise UserError(f"{name}: nested too deep") from None


def _size(node: yaml.Node, name: str, sizes: dict[int, int]) -> int:
    """Return how many values a node unfolds to; refuse equal keys and what holds itself."""
    if id(node) in sizes:
        if sizes[id(node)] == 0:
            raise UserError(f"{name}: line {node.start_mark.line + 1} holds itself by an alias")
        return sizes[id(node)]
    sizes[id(node)] = 0
    size = 1
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value in lines:
                raise UserError(
                    f"{name}: the key {key.value} stands twice, in lines {lines[key.value]} and "
                    f"{line}"
                )
            if isinstance(key, yaml.ScalarNode):
                lines[key.value] = line
            size += _size(key, name, sizes) + _size(value, name, sizes)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_size(item, name, sizes) for item in node.value)
    sizes[id(node)] = size
    return size
