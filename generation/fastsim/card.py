"""Detector cards: Delphes' Tcl files as an execution path and configured modules.

The card language is the one of Delphes' ExRootConfReader: Tcl, with `module Class Name {...}`
(a namespace whose variables are the module's parameters), `add` (append to a list) and
`source` (relative to the folder of the card). Nothing in a card can start a program or reach
a file outside its folder.
"""

import hashlib
import json
import math
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from generation.fastsim.tcl.control import CONTROL_COMMANDS, expect
from generation.fastsim.tcl.interpreter import (
    BreakSignal,
    ContinueSignal,
    Frame,
    Interpreter,
    frozen,
)
from generation.fastsim.tcl.lists import LIST_COMMANDS
from generation.fastsim.tcl.values import (
    MAX_NESTING,
    TclError,
    Value,
    as_list,
    as_number,
    as_text,
    as_truth,
    is_number,
)
from provenance.errors import UserError

MAX_FILE_BYTES = 10_000_000
# Of the tags of a jet.
BITS = 32
# Elements of all lists together, in a description.
MOST = 200_000_000

Plain = Any  # str, int, float, or lists of them


class ParameterError(UserError):
    """A parameter whose value or name a module cannot take.

    Attributes
    ----------
    parameter
        Its name.
    """

    def __init__(self, sentence: str, parameter: str) -> None:
        super().__init__(sentence)
        self.parameter = parameter


@dataclass
class ModuleConfig:
    """One module of a card.

    Attributes
    ----------
    type
        The Delphes class, such as `Efficiency`.
    name
        The module's own name.
    params
        Every variable of the module's body: numbers as numbers, lists as lists, the rest as text.
    path, line
        Where the module is configured.
    texts_read
        Every text that was asked for so far: names of arrays, formulas.
    """

    type: str
    name: str
    params: dict[str, Plain] = field(default_factory=dict)
    path: str = ""
    line: int = 0
    texts_read: set[str] = field(default_factory=set, repr=False)
    _values: dict[str, Value] = field(default_factory=dict, repr=False)
    _places: dict[str, tuple[str, int]] = field(default_factory=dict, repr=False)
    # Variables that the card itself reads, such as the counters of its loops.
    _helpers: frozenset[str] = field(default=frozenset(), repr=False)
    _known: set[str] = field(default_factory=set, repr=False)

    def number(self, name: str, default: float) -> float:
        """Return a numeric parameter, which is finite."""
        number = self._get(name, as_number, default, "a number")
        if not math.isfinite(number):
            raise self.error(name, "is not a finite number")
        return number

    def integer(self, name: str, default: int) -> int:
        """Return an integer parameter."""
        number = self.number(name, default)
        if number != int(number):
            raise self.error(name, "is not an integer")
        return int(number)

    def bit(self, name: str) -> int:
        """Return the number of one of 32 bits, 0 if none is given."""
        number = self.integer(name, 0)
        if not 0 <= number < BITS:
            raise self.error(name, f"is not between 0 and {BITS - 1}")
        return number

    def text(self, name: str, default: str) -> str:
        """Return a parameter as it is written, such as a formula or the name of an array."""
        text = self._get(name, as_text, default, "a text")
        self.texts_read.add(text)
        return text

    def flag(self, name: str, default: bool) -> bool:
        """Return a parameter that is true or false."""
        return self._get(name, as_truth, default, "true or false")

    def array(self, name: str, default: tuple = ()) -> list[Plain]:
        """Return a list parameter: numbers, texts and nested lists."""
        return plain(self._get(name, as_list, tuple(default), "a list"))

    def texts(self, name: str, default: tuple = ()) -> list[str]:
        """Return a list parameter with each element as it is written."""
        texts = [as_text(element) for element in self._get(name, as_list, default, "a list")]
        self.texts_read.update(texts)
        return texts

    def ignore(self, *names: str) -> None:
        """Accept parameters that change nothing here."""
        self._known.update(names)

    def reject_unknown(self) -> None:
        """Raise `UserError` for the first parameter that no one has asked for."""
        for name in self.params:
            if name not in self._known and name not in self._helpers:
                raise self.error(name, f"is not a parameter of {self.type}")

    def error(self, name: str, complaint: str) -> ParameterError:
        """Return the error that says what is wrong with a parameter, and where."""
        path, line = self._places.get(name, (self.path, self.line))
        sentence = f"{path}:{line}: '{name}' of module '{self.name}' {complaint}"
        return ParameterError(sentence, name)

    def _get(self, name: str, convert: Any, default: Any, kind: str) -> Any:
        self._known.add(name)
        if name not in self._values:
            return default
        try:
            return convert(self._values[name])
        except TclError:
            raise self.error(name, f"is not {kind}") from None


@dataclass(frozen=True)
class Card:
    """A detector card.

    Attributes
    ----------
    path
        The file.
    execution_path
        Module names in the order of execution.
    modules
        Every configured module by name; more than the execution path may use.
    settings
        The other variables of the card: `RandomSeed`, `MaxEvents`, helpers.
    files
        The card and the files it sources, each once, in the order of reading.
    sha256
        Digest of what was read, in the order of reading.
    """

    path: Path
    execution_path: list[str]
    modules: dict[str, ModuleConfig]
    settings: dict[str, Plain]
    files: list[Path]
    sha256: str

    def sequence(self) -> list[ModuleConfig]:
        """Return the modules of the execution path.

        Raises
        ------
        UserError
            When the path names a module that the card does not configure.
        """
        for name in self.execution_path:
            if name not in self.modules:
                raise UserError(
                    f"{self.path}: ExecutionPath names '{name}', which no module command configures"
                )
        return [self.modules[name] for name in self.execution_path]


def read_card(path: str | Path) -> Card:
    """Read a Delphes card.

    Parameters
    ----------
    path
        The Tcl file. Files that it sources must lie in its folder or below.

    Raises
    ------
    UserError
        Naming file, line and word, for whatever is not part of the card language.
    """
    return _Reader(Path(path)).card()


def branch_names(card: Card) -> list[str]:
    """Return the names of the branches that a card writes."""
    writers = [config for config in card.sequence() if config.type == "TreeWriter"]
    return [name for config in writers for name in config.texts("Branch")[1::3]]


def describe(card: Card, implemented: Container[str]) -> dict[str, Plain]:
    """Return what a card says, ready for JSON.

    Parameters
    ----------
    card
        The card.
    implemented
        The module classes that can be simulated.

    Returns
    -------
    dict
        `card`, `sha256`, `execution_path`, `settings`, `modules` (name to class and parameters)
        and `not_implemented` (the classes that the execution path needs and `implemented` lacks).
    """
    everything = [card.settings, *(module.params for module in card.modules.values())]
    known: dict[int, int] = {}
    if sum(_elements(values, known) for values in everything) > MOST:
        raise UserError(f"{card.path}: its lists hold more than {MOST} elements")
    classes = {card.modules[name].type for name in card.execution_path if name in card.modules}
    return {
        "card": str(card.path),
        "sha256": card.sha256,
        "execution_path": card.execution_path,
        "settings": card.settings,
        "modules": {
            name: {"class": module.type, "parameters": module.params}
            for name, module in card.modules.items()
        },
        "not_implemented": sorted(name for name in classes if name not in implemented),
    }


def write_description(description: dict[str, Plain], stream: TextIO) -> None:
    """Write what `describe` returns as JSON, each list on one line.

    The towers of a fine calorimeter are tens of millions of numbers, most of them repetitions:
    they are written piece by piece, and every list of numbers is spelled once.
    """
    known: dict[int, str] = {}
    for piece in _json(description, known, "\n"):
        stream.write(piece)
    stream.write("\n")


def _json(value: Plain, known: dict[int, str], line: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        inner = line + " "
        for index, (key, element) in enumerate(value.items()):
            yield ("," if index else "{") + inner + json.dumps(key) + ": "
            yield from _json(element, known, inner)
        yield line + "}"
    elif isinstance(value, list) and any(isinstance(element, list) for element in value):
        for index, element in enumerate(value):
            yield ", " if index else "["
            yield from _json(element, known, line)
        yield "]"
    elif isinstance(value, list):
        if id(value) not in known:
            known[id(value)] = json.dumps(value, allow_nan=False)
        yield known[id(value)]
    else:
        yield json.dumps(value, allow_nan=False)


def _elements(value: Plain, known: dict[int, int]) -> int:
    """Return how many elements a value has when every nested list is written out."""
    if isinstance(value, dict):
        return sum(_elements(element, known) for element in value.values())
    if not isinstance(value, list):
        return 1
    if id(value) not in known:
        known[id(value)] = sum(_elements(element, known) for element in value)
    return known[id(value)]


def plain(value: Value) -> Plain:
    """Return a card's value for Python: numbers, lists, and text for the rest.

    A text of several words is a list only when all of them are numbers; a formula stays a text.
    """
    return _plain(value, {}, 0)


def _plain(value: Value, known: dict[int, Plain], depth: int) -> Plain:
    if isinstance(value, tuple):
        # Grids hold the same list of edges thousands of times; it stays one list here too.
        if id(value) not in known:
            if depth > MAX_NESTING:
                raise UserError(f"a list of the card is nested more than {MAX_NESTING} deep")
            known[id(value)] = [_plain(element, known, depth + 1) for element in value]
        return known[id(value)]
    if not isinstance(value, str):
        return value
    if is_number(value):
        number = as_number(value)
        return number if math.isfinite(number) else str(value)
    words = value.split()
    if len(words) > 1 and all(map(is_number, words)):
        return [_plain(word, known, depth) for word in words]
    return str(value)


class _Reader:
    """Runs one card and gathers its modules."""

    def __init__(self, path: Path):
        self.path = path
        self.folder = path.resolve().parent
        self.files: list[Path] = []
        self.digest = hashlib.sha256()
        self.modules: dict[str, ModuleConfig] = {}
        self.tcl = Interpreter(
            {
                **CONTROL_COMMANDS,
                **LIST_COMMANDS,
                "module": self._module,
                "source": self._source,
            }
        )

    def card(self) -> Card:
        """Run the card and return what it configures."""
        try:
            self.tcl.run_file(self.path, self._text(self.path))
        except (BreakSignal, ContinueSignal):
            raise UserError(f"{self.path}: 'break' or 'continue' stands outside a loop") from None
        settings = self._variables("")
        if "ExecutionPath" not in settings:
            raise UserError(f"{self.path}: sets no ExecutionPath")
        path = self.tcl.namespaces[""]["ExecutionPath"]
        try:
            if isinstance(path, dict):
                raise TclError("it is an array")
            execution_path = as_list(frozen(path))
        except TclError as error:
            raise UserError(f"{self.path}: ExecutionPath is not a list: {error}") from None
        for module in self.modules.values():
            module.params.update(self._variables(module.name))
            variables = self.tcl.namespaces[module.name].items()
            # An array of Tcl's is a card's own aid, never a parameter.
            module._values |= {name: frozen(v) for name, v in variables if not isinstance(v, dict)}
            module._places.update(self._by_name(self.tcl.written, module.name))
            module._helpers = frozenset(
                key for namespace, key in self.tcl.read if namespace == module.name
            )
        settings.pop("ExecutionPath")
        return Card(
            path=self.path,
            execution_path=[as_text(name) for name in execution_path],
            modules=self.modules,
            settings=settings,
            files=list(dict.fromkeys(self.files)),
            sha256=self.digest.hexdigest(),
        )

    def _variables(self, namespace: str) -> dict[str, Plain]:
        return {
            name: {index: plain(frozen(element)) for index, element in value.items()}
            if isinstance(value, dict)
            else plain(frozen(value))
            for name, value in self.tcl.namespaces[namespace].items()
        }

    def _by_name(self, places: dict, namespace: str) -> dict:
        return {key: place for (owner, key), place in places.items() if owner == namespace}

    def _module(self, tcl: Interpreter, arguments: list[Value]) -> Value:
        expect(arguments, 2, 3, "module Class Name {parameters}")
        kind, name = map(as_text, arguments[:2])
        if not name or "::" in name:
            raise TclError(f"'{name[:60]}' cannot be the name of a module")
        # As in Delphes, a second module of the same name only adds to the first.
        self.modules.setdefault(name, ModuleConfig(kind, name, path=tcl.path, line=tcl.line))
        tcl.namespaces.setdefault(name, {})
        if len(arguments) == 3:
            with tcl.within(Frame(name)):
                tcl.run(arguments[2])
        return ""

    def _source(self, tcl: Interpreter, arguments: list[Value]) -> Value:
        expect(arguments, 1, 1, "source file")
        name = as_text(arguments[0])
        try:
            target = (self.folder / name).resolve()
        except (ValueError, OSError, RuntimeError):
            raise TclError(f"'{name[:60]}' is not a file name") from None
        if not target.is_relative_to(self.folder):
            raise TclError(f"'{name}' is outside the folder of the card, {self.folder}")
        if not target.is_file():
            raise TclError(f"'{name}' is not a file in {self.folder}")
        path = self.path.parent / name
        tcl.run_file(path, self._text(path))
        return ""

    def _text(self, path: Path) -> str:
        try:
            with path.open("rb") as stream:
                content = stream.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None
        if len(content) > MAX_FILE_BYTES:
            raise UserError(f"{path}: larger than a card may be ({MAX_FILE_BYTES} bytes)")
        self.files.append(path)
        self.digest.update(content)
        return content.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
