"""Les Houches event files (hep-ph/0609017): what MadGraph wrote, cut into slices for batches."""

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from provenance.errors import UserError

# Characters: a hundred times what a run of MadGraph here writes. More would fill the memory.
LIMIT = 1 << 29
VERSION = re.compile(r"<MGVersion>\s*#?\s*([0-9][^\s<]*)")


@dataclass(frozen=True)
class LheFile:
    """An event file as text.

    Attributes
    ----------
    banner
        What stands before `<init>`: versions and cards.
    init
        The block `<init>`, tags included.
    events
        The blocks `<event>`, tags included.
    """

    banner: str
    init: str
    events: list[str]

    @classmethod
    def read(cls, path: Path) -> "LheFile":
        """Read a whole file, compressed or not.

        Raises
        ------
        UserError
            When the file is missing, truncated or not a Les Houches event file.
        """
        try:
            with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
                text = file.read(LIMIT + 1)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except (EOFError, OSError, UnicodeDecodeError, zlib.error) as error:
            raise UserError(f"{path}: cannot be read to its end ({error})") from None
        if len(text) > LIMIT:
            raise UserError(f"{path}: is larger than {LIMIT >> 20} MB: not of a run of MadGraph")
        start, end = text.find("<init>"), text.find("</init>")
        if not text.startswith("<LesHouchesEvents") or start < 0 or end < 0:
            raise UserError(f"{path}: not a Les Houches event file")
        if "</LesHouchesEvents>" not in text[-100:]:
            raise UserError(f"{path}: ends before its last line; the file was truncated")
        end += len("</init>\n")
        try:
            return cls(text[:start], text[start:end], list(_blocks(text, end)))
        except ValueError:
            raise UserError(f"{path}: an event has no end") from None

    @property
    def madgraph_version(self) -> str:
        """Return the version of MadGraph that wrote the file, empty when it does not say."""
        found = VERSION.search(self.banner)
        return found.group(1) if found else ""

    def slice(self, first: int, count: int) -> str:
        """Return a file of its own with `count` events from number `first` on, without banner."""
        events = "".join(self.events[first : first + count])
        return f'<LesHouchesEvents version="3.0">\n{self.init}{events}</LesHouchesEvents>\n'


def _blocks(text: str, start: int) -> Iterator[str]:
    closing = "</event>\n"
    while (start := text.find("<event", start)) >= 0:
        end = text.index(closing, start) + len(closing)
        yield text[start:end]
        start = end
