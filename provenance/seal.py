"""JSON objects that hold their own SHA-256, so that no ledger is needed beside them."""

import hashlib
import json
from pathlib import Path
from typing import Any

from provenance.errors import UserError


def json_sha256(content: dict) -> str:
    """Return the SHA-256 of a JSON object, whatever the order and layout of its keys."""
    # Keys that are no strings sort differently once they are read back.
    content = json.loads(json.dumps(content))
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(content: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a JSON object with the SHA-256 of everything else in it under `key`."""
    return content | {key: json_sha256(content)}


def check_seal(path: str | Path, content: dict[str, Any], key: str) -> None:
    """Refuse a JSON object that is not the one that was sealed.

    Raises
    ------
    UserError
        Names the file that it was read from.
    """
    rest = {name: value for name, value in content.items() if name != key}
    if content.get(key) != json_sha256(rest):
        raise UserError(f"{path}: damaged, or changed since it was written: its {key} is wrong")
