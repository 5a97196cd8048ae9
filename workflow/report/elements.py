"""What a page is made of: sections with text, tables and pictures; the template knows no more.

Whatever fills a section is data, so that the look of all of them is decided in one place.
"""

import base64
import io
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from matplotlib.figure import Figure

from provenance.errors import UserError
from provenance.files import atomic_output, write_json

DASH = "–"
# Longer tables get a field to search in, and are closed until they are opened.
LONG_TABLE = 12
ACRONYMS = {"auc": "AUC", "qcd": "QCD", "pt": "pT", "met": "missing momentum"}
# Inches from which a figure of the report is wide; of others width over height, and pixels.
WIDE, WIDE_RATIO, WIDE_PIXELS = 9.0, 1.6, 1800


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what is read, what is sorted by, where it leads."""

    text: str
    value: float | str | None = None
    link: str | None = None
    code: bool = False

    @property
    def numeric(self) -> bool:
        """Whether it is a number, or none is known."""
        return isinstance(self.value, int | float) or self.text == DASH


@dataclass(frozen=True)
class Table:
    """Rows with a head; `foot` stays last however it is sorted."""

    kind: ClassVar[str] = "table"
    caption: str
    head: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    foot: Sequence[Cell] = ()
    facts: Sequence[Sequence[Cell]] = ()  # more rows of the head: what each column is

    @property
    def searchable(self) -> bool:
        """Whether it is long enough to search in."""
        return len(self.rows) > LONG_TABLE

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns are numbers throughout."""
        if not self.rows:
            return (False,) * len(self.head)
        return tuple(all(own.numeric for own in column) for column in zip(*self.rows, strict=True))


@dataclass(frozen=True)
class Picture:
    """A figure inside the page, with links to its PDF and data beside the page.

    A wide one keeps a size that can be read on a phone, and is moved sideways there.
    """

    kind: ClassVar[str] = "picture"
    image: str  # data URI
    caption: str
    links: Mapping[str, str] = field(default_factory=dict)
    wide: bool = False


@dataclass(frozen=True)
class Gallery:
    """Pictures beside each other, as many as there is room for."""

    kind: ClassVar[str] = "gallery"
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Code:
    """Text as it stands, line by line."""

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class Fold:
    """What is shown when it is asked for; printed in any case."""

    kind: ClassVar[str] = "fold"
    title: str
    blocks: Sequence[Any]


Block = Table | Picture | Gallery | Text | Code | Fold


@dataclass(frozen=True)
class Section:
    """A heading with what follows; `anchor` is unique on the page."""

    title: str
    anchor: str
    blocks: Sequence[Block]
    sections: Sequence["Section"] = ()


def cell(value: Any, link: str | None = None) -> Cell:
    """Return a cell of a number or text as people read it."""
    if isinstance(value, bool):
        return Cell("yes" if value else "no", str(value), link)
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return Cell(DASH)
    if isinstance(value, int | float):
        return Cell(format_number(value), value, link)
    return Cell(str(value), str(value), link)


def cells(*values: Any) -> tuple[Cell, ...]:
    """Return a row of cells."""
    return tuple(value if isinstance(value, Cell) else cell(value) for value in values)


def hash_cell(digest: str) -> Cell:
    """Return a cell with a whole checksum, to be searched for."""
    return Cell(digest, digest, code=True)


def format_number(value: float | None) -> str:
    """Write a number as people read it: 1,234,567 or 0.4922; a dash for what is not known."""
    if value is None:
        return DASH
    if isinstance(value, float) and (not value.is_integer() or abs(value) < 1):
        return f"{value:.4g}" if math.isfinite(value) else DASH
    return f"{int(value):,}"


def short_number(value: float) -> str:
    """Write a measured number with three digits, 1,070 and not 1.07e+03."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def readable(name: str) -> str:
    """Return a key as words."""
    return " ".join(ACRONYMS.get(word, word) for word in name.split("_"))


def title(name: str) -> str:
    """Return a key as the words at the head of a column or sentence."""
    words = readable(name)
    return words[:1].upper() + words[1:]


@dataclass(frozen=True)
class Place:
    """Where a page is written, and what lies beside it."""

    page: Path

    @property
    def folder(self) -> Path:
        """For the PDF and data of the page's own figures."""
        return self.page.with_suffix("")

    def link(self, path: Path) -> str:
        """Return a path as the page links it: relative, with forward slashes, quoted."""
        from os.path import relpath
        from urllib.parse import quote

        return quote(Path(relpath(path.absolute(), self.page.absolute().parent)).as_posix())

    def draw(self, name: str, figure: Figure, data: dict[str, Any], caption: str) -> Picture:
        """Write PDF and data of a figure beside the page; return it for the page.

        Parameters
        ----------
        name
            Of the files, without suffix.
        figure
            What is drawn.
        data
            The numbers in it.
        caption
            Says what it shows, for those who do not see it too.
        """
        pdf, numbers = (self.folder / f"{name}{suffix}" for suffix in (".pdf", ".json"))
        with atomic_output(pdf) as temporary:
            # Without the date, which would change every time.
            figure.savefig(temporary, metadata={"CreationDate": None})
        # What was laid out need not be again.
        figure.set_layout_engine("none")
        write_json(numbers, data)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
        image = as_uri(stream.getvalue(), "svg+xml")
        links = {"PDF": self.link(pdf), "data": self.link(numbers)}
        return Picture(image, caption, links, figure.get_figwidth() > WIDE)

    def take(self, stem: Path, caption: str, data: Path) -> Picture:
        """Return a figure that lies beside its numbers, as PNG and where there is one as PDF.

        Raises
        ------
        UserError
            When there is no such figure.
        """
        png, pdf = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.pdf")
        try:
            image = as_uri(png.read_bytes(), "png")
        except FileNotFoundError:
            raise UserError(f"{png}: no such figure") from None
        links = {"PDF": self.link(pdf)} if pdf.exists() else {"PNG": self.link(png)}
        width, height = struct.unpack(">II", png.read_bytes()[16:24])
        wide = width > WIDE_RATIO * height or width > WIDE_PIXELS
        return Picture(image, caption, links | {"data": self.link(data)}, wide)


def as_uri(content: bytes, kind: str) -> str:
    """Return an image as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
