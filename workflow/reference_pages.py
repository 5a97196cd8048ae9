"""Pages of the documentation that are made of the code; a test keeps them in step."""

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from commandline.reference import commands_page
from generation.process import load_process, process_names
from ntuplizer.labels import LABELS, group_of
from training.config import FitConfig
from training.tasks import config_type, task_names

# Key, of which kind of its section, default, meaning.
Row = tuple[str, str, str, str]

PACKAGES = ("generation", "ntuplizer", "training", "validation", "workflow", "generation.external")


def commands() -> str:
    """Return the page of all commands."""
    page = commands_page((name, import_module(f"{name}.cli").add_commands) for name in PACKAGES)
    return f"""# Commands

Every command and its arguments, made of the parsers themselves by `python -m workflow schema`.
`jetclass` is one program for those of the first four packages (`jetclass simulate`,
`jetclass jets`, `jetclass train` for `python -m training fit`, `jetclass dataset-card` for
`python -m ntuplizer card`); the rules call those of the other two. On a terminal a command shows
a bar with rate and remaining time, elsewhere a line a minute; `NO_COLOR=1` turns colours off, and
`eval "$(register-python-argcomplete jetclass)"` lets the shell complete commands and options.

{page}"""


def labels() -> str:
    """Return the page of the 188 labels."""
    rows = "\n".join(f"| {i} | `{name}` | {group_of(name)} |" for i, name in enumerate(LABELS))
    return f"""# Labels

The 188 labels of the product `jets` in the order of their index, `jet_label`, made of
`ntuplizer/labels.py` by `python -m workflow schema`. `X_` is a resonance with two prongs, `X_YY_` a
cascade X → YY with three or four, `QCD_` the heavy quarks of a jet without a resonance
(arXiv:2405.12972). The letters: `b c s g` are the partons, `q` is an up or down quark, `e m v` an
electron, a muon, a neutrino; `tauhtaue` is a pair of τ of which one decays to hadrons and one to an
electron, `tauev` a τ that decays to an electron, with its neutrino. The group is that of the
confusion matrix.

| index | label | group |
|---|---|---|
{rows}
"""


def processes() -> str:
    """Return the list of processes."""
    rows = []
    for name in process_names():
        process = load_process(name)
        point = ", ".join(f"`{parameter}`" for parameter in process.point) or "–"
        rows.append(f"| `{name}` | {process.description} | {point} |")
    table = "\n".join(rows)
    return f"""# List of processes

What can be generated, made of `generation/processes/*/process.yaml` by `python -m workflow schema`.
What the processes are and why is told in [Processes](processes.md).

| process | is | drawn once per batch |
|---|---|---|
{table}
"""


def trainings() -> str:
    """Return the page of the keys of training configurations."""
    shared = list(_keys(FitConfig))
    parts = [_table(shared)]
    for task in task_names():
        model = config_type(task)
        own = [row for row in _keys(model) if row not in shared and row[0] != "task"]
        summary = (model.__doc__ or "").splitlines()[0]
        parts.append(f"\n## The task `{task}`\n\n{summary}\n\n{_table(own)}")
    tables = "\n".join(parts)
    return f"""# Training configurations

Keys of the files in `training/configs`, made of the classes that check them by
`python -m workflow schema`. What a run changes of a file stands under `training.<name>.set` of its
[configuration](configuration.md). First the keys that all tasks share, then those of each task;
behind a key in brackets, of which kind it is where there are several.

{tables}
"""


def _table(rows: Iterable[Row]) -> str:
    kinds: dict[tuple[str, str, str], list[str]] = {}
    for key, kind, default, meaning in rows:
        kinds.setdefault((key, default, meaning), []).append(kind)
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for (key, default, meaning), of in kinds.items():
        shown = ", ".join(dict.fromkeys(filter(None, of)))
        lines.append(f"| `{key}`{shown and f' ({shown})'} | {default} | {meaning} |")
    return "\n".join(lines)


def _keys(model: type[BaseModel], prefix: str = "", kind: str = "") -> Iterator[Row]:
    """Yield (key, kind, default, meaning) of every leaf, depth first; of several kinds in turn."""
    for name, field in model.model_fields.items():
        nested = list(_models(field.annotation))
        if not nested and name != "name":
            meaning = (field.description or "").replace("|", "\\|")
            yield f"{prefix}{name}", kind, _default(field), meaning
        for inner in nested:
            named = inner.model_fields.get("name")
            own = kind if len(nested) == 1 or named is None else get_args(named.annotation)[0]
            yield from _keys(inner, f"{prefix}{name}.", own)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "null" if value is None else f"`{str(value).replace('|', ' ')}`"


PAGES: dict[str, Callable[[], str]] = {
    "docs/commands.md": commands,
    "docs/labels.md": labels,
    "docs/process_list.md": processes,
    "docs/training_configurations.md": trainings,
}
