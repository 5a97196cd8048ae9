"""The commands on lists and texts: pure functions of their words."""

import re
from collections.abc import Callable
from fnmatch import fnmatchcase

from generation.fastsim.tcl.control import expect
from generation.fastsim.tcl.interpreter import Interpreter
from generation.fastsim.tcl.values import (
    TclError,
    Value,
    as_integer,
    as_list,
    as_number,
    as_text,
    is_number,
)

MAX_WIDTH = 1000

_FIELD = re.compile(r"%(?:%|([-+ 0#]*)(\d*)(?:\.(\d+))?[lh]*([diouxXeEfgGsc]))")


def list_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`list ?element ...?`."""
    return tuple(arguments)


def concat_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`concat ?list ...?`: joins lists, and texts as they are written."""
    if all(isinstance(word, tuple) for word in arguments):
        return sum(arguments, ())
    texts = (as_text(word).strip(" \f\v\r\t\n") for word in arguments)
    return " ".join(text for text in texts if text)


def llength_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`llength list`."""
    expect(arguments, 1, 1, "llength list")
    return len(as_list(arguments[0]))


def lindex_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`lindex list ?index ...?`."""
    expect(arguments, 1, None, "lindex list ?index ...?")
    value = arguments[0]
    indices = [index for word in arguments[1:] for index in as_list(word)]
    for index in indices:
        elements = as_list(value)
        position = _position(index, len(elements))
        value = elements[position] if 0 <= position < len(elements) else ""
    return value


def lrange_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`lrange list first last`."""
    expect(arguments, 3, 3, "lrange list first last")
    elements = as_list(arguments[0])
    first = max(0, _position(arguments[1], len(elements)))
    return elements[first : max(first, _position(arguments[2], len(elements)) + 1)]


def linsert_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`linsert list index element ...`."""
    expect(arguments, 2, None, "linsert list index element ...")
    elements = as_list(arguments[0])
    position = min(max(0, _position(arguments[1], len(elements) + 1)), len(elements))
    return (*elements[:position], *arguments[2:], *elements[position:])


def lreplace_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`lreplace list first last ?element ...?`."""
    expect(arguments, 3, None, "lreplace list first last ?element ...?")
    elements = as_list(arguments[0])
    first = max(0, _position(arguments[1], len(elements)))
    last = _position(arguments[2], len(elements))
    return (*elements[:first], *arguments[3:], *elements[max(first, last + 1) :])


def lsort_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`lsort ?-integer|-real|-decreasing|-increasing|-unique|-ascii ...? list`."""
    expect(arguments, 1, None, "lsort ?option ...? list")
    *options, values = arguments
    names = {as_text(option) for option in options}
    unknown = names - {"-integer", "-real", "-decreasing", "-increasing", "-unique", "-ascii"}
    if unknown:
        raise TclError(f"'{min(unknown)}' is not an option of lsort")
    key = as_number if names & {"-integer", "-real"} else as_text
    elements = as_list(values)
    tcl.spend(len(elements))
    if "-unique" in names:
        elements = tuple({key(element): element for element in elements}.values())
    return tuple(sorted(elements, key=key, reverse="-decreasing" in names))


def lsearch_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`lsearch ?-exact|-glob? list pattern`."""
    expect(arguments, 2, 3, "lsearch ?-exact|-glob? list pattern")
    mode = as_text(arguments[0]) if len(arguments) == 3 else "-glob"
    if mode not in ("-exact", "-glob"):
        raise TclError(f"'{mode}' is not an option of lsearch")
    pattern = as_text(arguments[-1])
    for position, element in enumerate(as_list(arguments[-2])):
        text = as_text(element)
        if text == pattern or (mode == "-glob" and fnmatchcase(text, pattern)):
            return position
    return -1


def lrepeat_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`lrepeat count element ...`."""
    expect(arguments, 1, None, "lrepeat count element ...")
    count = max(0, as_integer(arguments[0]))
    tcl.spend(count * len(arguments[1:]))
    return tuple(arguments[1:]) * count


def join_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`join list ?separator?`."""
    expect(arguments, 1, 2, "join list ?separator?")
    separator = as_text(arguments[1]) if len(arguments) == 2 else " "
    return separator.join(map(as_text, as_list(arguments[0])))


def split_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`split text ?characters?`."""
    expect(arguments, 1, 2, "split text ?characters?")
    text = as_text(arguments[0])
    characters = as_text(arguments[1]) if len(arguments) == 2 else " \n\t\r"
    tcl.spend(len(text))
    if not text:
        return ()
    if not characters:
        return tuple(text)
    return tuple(re.split("[" + re.escape(characters) + "]", text))


def format_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """`format pattern ?value ...?` with the fields of C's printf."""
    expect(arguments, 1, None, "format pattern ?value ...?")
    values = iter(arguments[1:])
    pattern = as_text(arguments[0])

    def field(match: re.Match) -> str:
        if match[0] == "%%":
            return "%"
        flags, width, precision, kind = match.groups()
        if int(width or 0) > MAX_WIDTH or int(precision or 0) > MAX_WIDTH:
            raise TclError(f"a field of format is wider than {MAX_WIDTH}")
        try:
            value = next(values)
        except StopIteration:
            raise TclError("format has fewer values than fields") from None
        if kind in "sc" and "0" in flags:
            raise TclError(f"'{match[0]}' asks for a text with leading zeros")
        shape = f"%{flags}{width}" + (f".{precision}" if precision else "")
        if kind == "s":
            return f"{shape}s" % as_text(value)
        if kind == "c":
            return f"{shape}s" % chr(as_integer(value) % 0x110000)
        if kind in "diouxX":
            return f"{shape}{'d' if kind in 'diu' else kind}" % as_integer(value)
        return f"{shape}{kind}" % float(as_number(value))

    if "%" in _FIELD.sub("", pattern):
        raise TclError(f"'{pattern[:60]}' has a field that format does not know")
    return _FIELD.sub(field, pattern)


def string_command(tcl: Interpreter, arguments: list[Value]) -> Value:
    """Apply `string operation text ...`; the operations are those of `_STRING_OPERATIONS`."""
    expect(arguments, 2, None, "string operation text ?...?")
    operation, *words = map(as_text, arguments)
    if operation not in _STRING_OPERATIONS:
        raise TclError(f"'string {operation}' is not a command that a card may use")
    function, count = _STRING_OPERATIONS[operation]
    optional = operation.startswith("trim")
    expect(words, count - optional, count, f"string {operation} with {count} words")
    tcl.spend(sum(map(len, words)))
    if operation == "repeat":
        tcl.spend(len(words[0]) * max(0, as_integer(words[1])))
    return function(*words)


def _position(index: Value, length: int) -> int:
    """Return a list position of the forms 3, end, end-2, end+1."""
    text = as_text(index)
    if not text.startswith("end"):
        return as_integer(index)
    offset = text.removeprefix("end")
    return length - 1 + (as_integer(offset) if offset else 0)


def _range(text: str, first: str, last: str) -> str:
    start = max(0, _position(first, len(text)))
    return text[start : max(start, _position(last, len(text)) + 1)]


def _map(mapping: str, text: str) -> str:
    pairs = [as_text(word) for word in as_list(mapping)]
    if len(pairs) % 2:
        raise TclError("string map needs a list of pairs")
    replacements = dict(zip(reversed(pairs[::2]), reversed(pairs[1::2]), strict=True))
    keys = [key for key in pairs[::2] if key]
    if not keys:
        return text
    return re.sub("|".join(map(re.escape, keys)), lambda match: replacements[match[0]], text)


def _is(kind: str, text: str) -> int:
    if kind in ("double", "integer"):
        number = as_number(text) if is_number(text) else None
        return int(number is not None and (kind == "double" or isinstance(number, int)))
    raise TclError(f"'string is {kind}' is not a command that a card may use")


_STRING_OPERATIONS: dict[str, tuple[Callable[..., Value], int]] = {
    "length": (len, 1),
    "tolower": (str.lower, 1),
    "toupper": (str.upper, 1),
    "trim": (lambda text, characters=" \t\n\r\v\f": text.strip(characters), 2),
    "trimleft": (lambda text, characters=" \t\n\r\v\f": text.lstrip(characters), 2),
    "trimright": (lambda text, characters=" \t\n\r\v\f": text.rstrip(characters), 2),
    "equal": (lambda left, right: int(left == right), 2),
    "compare": (lambda left, right: (left > right) - (left < right), 2),
    "match": (lambda pattern, text: int(fnmatchcase(text, pattern)), 2),
    "first": (lambda needle, text: text.find(needle), 2),
    "index": (lambda text, index: _range(text, index, index), 2),
    "range": (_range, 3),
    "repeat": (lambda text, count: text * max(0, as_integer(count)), 2),
    "map": (_map, 2),
    "is": (_is, 2),
}

LIST_COMMANDS = {
    "concat": concat_command,
    "format": format_command,
    "join": join_command,
    "lindex": lindex_command,
    "linsert": linsert_command,
    "list": list_command,
    "llength": llength_command,
    "lrange": lrange_command,
    "lrepeat": lrepeat_command,
    "lreplace": lreplace_command,
    "lsearch": lsearch_command,
    "lsort": lsort_command,
    "split": split_command,
    "string": string_command,
}
