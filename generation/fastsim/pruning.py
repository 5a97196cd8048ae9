"""Which modules of a card a choice of branches needs.

A module is needed when something needed reads one of the arrays that it makes. It also is when it
sets a property on candidates that it did not make (`Module.marks`), in place as Delphes does, and
something needed might see it: a module after it that gets these candidates or what was made of
them, or a branch with that property. Jets are candidates of their own: what is set on them is not
set on their constituents.
"""

from collections.abc import Collection, Iterable
from pathlib import Path

from generation.fastsim.branches import columns_of
from generation.fastsim.module import Module
from generation.fastsim.modules.tree_writer import TreeWriter
from provenance.errors import UserError

# Whose arrays are there before any module runs.
READER = "Delphes"


def choose_branches(modules: list[Module], names: Collection[str], card: Path) -> list[Module]:
    """Return the modules that make the branches called `names`, and let only these be written.

    Parameters
    ----------
    modules
        All modules of the card, in the order of execution.
    names
        Names of branches.
    card
        The card, for messages.

    Raises
    ------
    UserError
        When the card writes no branch of a name.
    """
    writers = [module for module in modules if isinstance(module, TreeWriter)]
    known = [name for writer in writers for _, name, _ in writer.branches]
    for name in names:
        if name not in known:
            raise UserError(f"{card}: writes no branch {name!r}, but {', '.join(known)}")
    for writer in writers:
        writer.branches = [branch for branch in writer.branches if branch[1] in names]
    return needed_modules(modules)


def needed_modules(modules: list[Module]) -> list[Module]:
    """Return the modules that the branches of the tree writers among them need."""
    origins = _Origins(modules)
    needed: list[Module] = []
    for place, module in reversed(list(enumerate(modules))):
        makes = f"{module.config.name}/"
        wanted = (name for later in needed for name in origins.inputs(later))
        if (
            (isinstance(module, TreeWriter) and module.branches)
            or any(name.startswith(makes) for name in wanted)
            or any(origins.may_see(later, module) for later in needed)
        ):
            needed.insert(0, modules[place])
    return needed


class _Origins:
    """Where the candidates that each module reads come from: the event, or a module's own."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self._groups: dict[str, frozenset[str]] = {}
        self._ancestry: dict[str, frozenset[str]] = {READER: frozenset((READER,))}
        self._own: dict[str, frozenset[str]] = {READER: frozenset()}
        for module in modules:
            name, inputs = module.config.name, self.inputs(module)
            groups = frozenset().union(*(self.groups(array) for array in inputs))
            before = (self._ancestry[array.partition("/")[0]] for array in inputs)
            self._groups[name] = self._groups.get(name, frozenset()) | groups
            self._own[name] = self._own.get(name, frozenset()) | module.new_arrays
            self._ancestry[name] = self._ancestry.get(name, frozenset()).union(groups, *before)

    def inputs(self, module: Module) -> list[str]:
        """Return the arrays that a module reads: what of its parameters is the name of one."""
        if isinstance(module, TreeWriter):
            texts = [array for array, _, _ in module.branches]
        else:
            texts = sorted(module.config.texts_read)
        return [text for text in texts if "/" in text and text.partition("/")[0] in self._ancestry]

    def groups(self, array: str) -> frozenset[str]:
        """Return whose candidates an array may hold."""
        name, _, output = array.partition("/")
        if name == READER or output in self._own.get(name, ()):
            return frozenset((name,))
        return self._groups.get(name, frozenset())

    def may_see(self, later: Module, module: Module) -> bool:
        """Tell whether what a module sets on candidates may change what a later one makes."""
        for array, columns in module.marks.items():
            groups = self.groups(array)
            if not isinstance(later, TreeWriter):
                if groups & self._ancestry[later.config.name]:
                    return True
                continue
            for other, _, delphes_class in later.branches:
                if groups & self.groups(other) and not columns_of(delphes_class).isdisjoint(
                    columns
                ):
                    return True
        return False
