"""Tcl's values: everything is text, but numbers and lists keep their form until text is asked for.

A value is a `str`, an `int`, a `float` or a `tuple` of values (a list). The conversions follow
Tcl 8.6: a text is a list when its words are, a number when it is spelled like one.
"""

import math
import re

Value = str | int | float | tuple

# A card's own text is some hundred kB; a value beyond this is a mistake or an attack.
MAX_TEXT = 10_000_000
MAX_NESTING = 100

_INTEGER = re.compile(r"\s*([+-]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|([0-9]+))\s*")
_FLOAT = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*")
_SPECIAL = re.compile(r"\s*[+-]?(?:inf(?:inity)?|nan)\s*", re.IGNORECASE)
_PLAIN_WORD = re.compile(r"[^\s{}\[\]$\";\\#][^\s{}\[\]$\";\\]*")
_SEPARATES = re.compile(r"[\s\[$;\\]")
_CONTINUED = re.compile(r"(?<!\\)(?:\\\\)*\\\n")
_SPACE = " \t\n\r\v\f"
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_TRUTH = {
    **dict.fromkeys(("1", "true", "yes", "on", "t", "tr", "tru", "y", "ye"), True),
    **dict.fromkeys(("0", "false", "no", "off", "f", "fa", "fal", "fals", "n", "of"), False),
}


class TclError(Exception):
    """What is wrong with a command of a card; the interpreter adds file and line."""


class Literal(str):
    """A braced word, with the place and the spelling that it had in its file.

    A loop body that fails in its third line can then be reported with the line of the file.
    """

    __slots__ = ("line", "path", "raw")
    line: int
    path: str
    raw: str

    def __new__(cls, text: str, raw: str, path: str, line: int) -> "Literal":
        """Make the word `text`, spelled `raw` from `line` of `path` on."""
        literal = super().__new__(cls, text)
        literal.raw, literal.path, literal.line = raw, path, line
        return literal


def as_text(value: Value) -> str:
    """Return the text of a value as Tcl 8.6 writes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, tuple):
        return _list_text(value, {}, 0)
    return str(value)


def as_number(value: Value) -> int | float:
    """Return a value as a number: an `int` when it is spelled as one.

    Raises
    ------
    TclError
        When it is not a number.
    """
    if isinstance(value, int | float):
        return value
    number = _parse_number(as_text(value))
    if number is None:
        raise TclError(f"'{_short(as_text(value))}' is not a number")
    return number


def is_number(value: Value) -> bool:
    """Tell whether a value is a number or a text that spells one."""
    return isinstance(value, int | float) or (
        isinstance(value, str) and _parse_number(value) is not None
    )


def as_integer(value: Value) -> int:
    """Return a value as an integer, or raise `TclError`."""
    number = as_number(value)
    if not isinstance(number, int):
        raise TclError(f"'{as_text(value)}' is not an integer")
    return number


def as_truth(value: Value) -> bool:
    """Return a value as a truth value: a number, or true/false, yes/no, on/off."""
    if is_number(value):
        return as_number(value) != 0
    try:
        return _TRUTH[as_text(value).strip().lower()]
    except KeyError:
        raise TclError(f"'{_short(as_text(value))}' is neither true nor false") from None


def as_list(value: Value) -> tuple:
    """Return a value as a list, or raise `TclError` when its braces or quotes do not pair."""
    if isinstance(value, tuple):
        return value
    if not isinstance(value, str):
        return (value,)
    items: list[Value] = []
    position, end = 0, len(value)
    while True:
        while position < end and value[position] in _SPACE:
            position += 1
        if position == end:
            return tuple(items)
        item, position = _list_item(value, position)
        if position < end and value[position] not in _SPACE:
            raise TclError(f"list element is followed by '{value[position]}' instead of a space")
        items.append(item)


def unescape(source: str, position: int) -> tuple[str, int]:
    """Return what the backslash at `position` stands for, and the position after it."""
    following = source[position + 1 : position + 2]
    if not following:
        return "\\", position + 1
    if following == "\n":
        position += 2
        while position < len(source) and source[position] in " \t":
            position += 1
        return " ", position
    if following in "xu":
        longest = 2 if following == "x" else 4
        digits = re.compile(rf"[0-9a-fA-F]{{1,{longest}}}").match(source, position + 2)
        return (chr(int(digits[0], 16)), digits.end()) if digits else (following, position + 2)
    if digits := re.compile("[0-7]{1,3}").match(source, position + 1):
        return chr(int(digits[0], 8) & 0xFF), digits.end()
    return _ESCAPES.get(following, following), position + 2


def closing_brace(source: str, position: int) -> int:
    """Return the position of the brace that closes the one at `position`."""
    depth = 0
    for token in re.compile(r"\\.|[{}]", re.DOTALL).finditer(source, position):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        if depth == 0:
            return token.start()
    raise TclError("an opening brace '{' is never closed")


def _list_item(source: str, position: int) -> tuple[str, int]:
    if source[position] == "{":
        end = closing_brace(source, position)
        return source[position + 1 : end], end + 1
    quoted = source[position] == '"'
    position += quoted
    parts: list[str] = []
    while position < len(source):
        character = source[position]
        if quoted and character == '"':
            return "".join(parts), position + 1
        if not quoted and character in _SPACE:
            break
        if character == "\\":
            character, position = unescape(source, position)
        else:
            position += 1
        parts.append(character)
    if quoted:
        raise TclError("an opening quote is never closed")
    return "".join(parts), position


def _list_text(elements: tuple, known: dict[int, str], depth: int) -> str:
    """Return the text of a list; lists that it holds many times are written once."""
    if depth > MAX_NESTING:
        raise TclError(f"lists are nested more than {MAX_NESTING} deep")
    if id(elements) not in known:
        words: list[str] = []
        length = 0
        for element in elements:
            if isinstance(element, tuple):
                word = _list_text(element, known, depth + 1)
                # The braces of a list pair: nothing to look for.
                word = "{" + word + "}" if len(element) > 1 else _quoted(word, not words)
            else:
                word = _quoted(as_text(element), not words)
            words.append(word)
            length += len(word) + 1
            if length > MAX_TEXT:
                raise TclError("a value is longer than a card may make it")
        known[id(elements)] = " ".join(words)
    return known[id(elements)]


def _parse_number(text: str) -> int | float | None:
    if match := _INTEGER.fullmatch(text):
        sign, hexadecimal, binary, octal, decimal = match.groups()
        for digits, base in ((hexadecimal, 16), (binary, 2), (octal, 8)):
            if digits:
                return int(sign + digits, base)
        # Python refuses to convert thousands of digits; Tcl's '09' is a broken octal number.
        if len(decimal) > 1000 or (decimal[0] == "0" and len(decimal) > 1):
            return None
        return int(sign + decimal)
    if _FLOAT.fullmatch(text) or _SPECIAL.fullmatch(text):
        return float(text)
    return None


def _float_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return mantissa
    power = int(exponent)
    if power == 16:  # Tcl turns to exponents one decade later than Python
        return f"{value:.1f}"
    return f"{mantissa}e{power:+d}" if power > 0 else f"{mantissa}e{power}"


def _quoted(text: str, first: bool) -> str:
    """Return the text of a list element as Tcl 8.6 writes it: bare, braced or escaped."""
    if not text:
        return "{}"
    if _PLAIN_WORD.fullmatch(text):
        return text
    # Only a list's first word can be taken for a comment.
    comment = first and text[0] == "#"
    try:
        paired = closing_brace("{" + text + "}", 0) == len(text) + 1
    except TclError:
        paired = False
    if not paired or _CONTINUED.search(text):
        escaped = re.sub(r"([\s{}\[\]$\";\\])", _escaped, text)
        return "\\" + escaped if comment else escaped
    if comment or text[0] in '{"' or _SEPARATES.search(text):
        return "{" + text + "}"
    return re.sub(r"([\]\"])", _escaped, text)


def _escaped(match: re.Match) -> str:
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\v": "\\v", "\f": "\\f"}.get(
        match[0], "\\" + match[0]
    )


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."
