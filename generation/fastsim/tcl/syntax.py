"""From the text of a card to commands and words (the rules of Tcl(n), 8.6)."""

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache

from generation.fastsim.tcl.values import Literal, TclError, closing_brace, unescape

_NAME = re.compile(r"(?:[A-Za-z0-9_]|::+)+")
_PLAIN = re.compile(r"[^\s;\\$\[\]\"{}]+")
_COMMENT = re.compile(r"(?:[^\\\n]|\\.|\\$)*", re.DOTALL)
_BLANK = " \t\r\v\f"
MAX_DEPTH = 50


class IncompleteError(TclError):
    """Text that ends too early or goes on too long, with the line of it."""

    def __init__(self, message: str, line: int):
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Variable:
    """`$name` or `$name(index)`."""

    name: str
    index: "Word | None" = None


@dataclass(frozen=True, slots=True)
class Substitution:
    """`[commands]`."""

    commands: "tuple[Command, ...]"


# A constant, or parts that are substituted and joined.
Part = str | Variable | Substitution
Word = str | tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its words and the line that it starts in."""

    words: tuple[Word, ...]
    line: int


@lru_cache(maxsize=4096)
def parse(source: str, path: str, line: int) -> tuple[Command, ...]:
    """Split a script into commands.

    Parameters
    ----------
    source
        The script.
    path, line
        The file that it is from and the line that it starts in.

    Raises
    ------
    IncompleteError
        When braces, brackets or quotes do not pair.
    """
    return Reader(source, path, line).commands(closing="")


class Reader:
    """Reads words from a text; `expressions.py` reads operands with the same methods."""

    def __init__(self, source: str, path: str, line: int):
        self.source = source
        self.path = path
        self.position = 0
        self._depth = 0
        self._first_line = line
        self._line_ends = [match.start() for match in re.finditer("\n", source)]

    @property
    def line(self) -> int:
        """The line of the file at the present position."""
        return self._first_line + bisect_right(self._line_ends, self.position - 1)

    def peek(self) -> str:
        """Return the next character, or an empty text at the end."""
        return self.source[self.position : self.position + 1]

    def fail(self, message: str) -> IncompleteError:
        """Return the error to raise at the present position."""
        return IncompleteError(message, self.line)

    def commands(self, closing: str) -> tuple[Command, ...]:
        """Read commands up to `closing` (a bracket, or nothing for the end of the text)."""
        commands: list[Command] = []
        while True:
            self._skip(_BLANK + "\n;")
            if not (character := self.peek()):
                if closing:
                    raise self.fail("an opening bracket '[' is never closed")
                return tuple(commands)
            if character == closing:
                self.position += 1
                return tuple(commands)
            if character == "#":
                self._comment()
                continue
            line = self.line
            words = []
            while (character := self.peek()) and character not in "\n;" + closing:
                words.append(self._word(closing))
                self._skip(_BLANK)
            commands.append(Command(tuple(words), line))

    def variable(self) -> Variable | None:
        """Read the variable at a `$`, or return None where the `$` stands for itself."""
        start = self.position
        self.position += 1
        if self.peek() == "{":
            end = self.source.find("}", self.position)
            if end < 0:
                raise self.fail("an opening brace '${' is never closed")
            name = self.source[self.position + 1 : end]
            self.position = end + 1
            return _named(name)
        match = _NAME.match(self.source, self.position)
        name = match[0] if match else ""
        self.position += len(name)
        if self.peek() != "(":
            if not name:
                self.position = start
                return None
            return Variable(name)
        self.position += 1
        index = self._parts(")")
        if self.peek() != ")":
            raise self.fail("an opening parenthesis of an array index is never closed")
        self.position += 1
        return Variable(name, index)

    def bracket(self) -> Substitution:
        """Read the command substitution at a `[`."""
        self.position += 1
        return Substitution(self.commands(closing="]"))

    def quoted(self) -> Word:
        """Read the quoted word at a quote."""
        self.position += 1
        word = self._parts('"')
        if not self.peek():
            raise self.fail("an opening quote is never closed")
        self.position += 1
        return word

    def braced(self) -> Literal:
        """Read the braced word at a `{`."""
        start = self.position + 1
        line = self.line
        try:
            end = closing_brace(self.source, self.position)
        except TclError as error:
            raise self.fail(str(error)) from None
        self.position = end + 1
        raw = self.source[start:end]
        text = raw if "\\" not in raw else _join_lines(raw)
        return Literal(text, raw, self.path, line)

    def _skip(self, characters: str) -> None:
        source, end = self.source, len(self.source)
        while self.position < end:
            if source[self.position] in characters:
                self.position += 1
            elif source.startswith("\\\n", self.position):
                self.position += 2
            else:
                return

    def _comment(self) -> None:
        comment = _COMMENT.match(self.source, self.position)
        assert comment is not None  # an empty one matches too
        self.position = comment.end()

    def _word(self, closing: str) -> Word:
        first = self.peek()
        if first not in ("{", '"'):
            return self._parts(_BLANK + "\n;" + closing)
        word = self.braced() if first == "{" else self.quoted()
        following = self.peek()
        if following and following not in _BLANK + "\n;" + closing and not self._continues():
            raise self.fail(f"a closing brace or quote is followed by '{following}'")
        return word

    def _continues(self) -> bool:
        return self.source.startswith("\\\n", self.position)

    def _parts(self, stop: str) -> Word:
        """Read text, variables and substitutions up to one of the characters `stop`."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self.fail(f"brackets are nested more than {MAX_DEPTH} deep")
        parts: list[Part] = []
        text: list[str] = []
        while (character := self.peek()) and character not in stop:
            part: Part | None = None
            if character == "$":
                part = self.variable()
            elif character == "[":
                part = self.bracket()
            elif character == "\\":
                if self._continues() and " " in stop:
                    break
                unescaped, self.position = unescape(self.source, self.position)
                text.append(unescaped)
                continue
            if part is not None:
                if text:
                    parts.append("".join(text))
                    text.clear()
                parts.append(part)
                continue
            plain = _PLAIN.match(self.source, self.position)
            # Words may hold a stop character of another kind of word, so take only what is plain.
            end = plain.end() if plain and ")" not in stop else self.position + 1
            text.append(self.source[self.position : end])
            self.position = end
        self._depth -= 1
        if not parts:
            return "".join(text)
        if text:
            parts.append("".join(text))
        return tuple(parts)


def _named(name: str) -> Variable:
    """Return the variable of `${name}`, where `name` may end in an array index."""
    if name.endswith(")") and "(" in name:
        array, _, index = name[:-1].partition("(")
        return Variable(array, index)
    return Variable(name)


def _join_lines(raw: str) -> str:
    """Replace continued line ends by a space, but not after an escaped backslash."""
    return re.sub(
        r"\\(\n[ \t]*|.)",
        lambda match: " " if match[1][0] == "\n" else match[0],
        raw,
        flags=re.DOTALL,
    )
