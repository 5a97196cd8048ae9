"""What can be learned: each task is a folder here, found by its name.

`tasks/<name>/config.py` holds `Config`, light to import; `tasks/<name>/task.py` holds `TASK`, a
`training.task.Task`. Nothing else names a task. Folders of tasks elsewhere are searched too: the
environment variable `TRAINING_TASKS` lists them like PATH, and every process inherits it.
"""

import os
import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

from provenance.errors import UserError

if TYPE_CHECKING:
    from training.config import FitConfig
    from training.task import AnyTask

SEARCH_PATH = "TRAINING_TASKS"

__path__.extend(filter(None, os.environ.get(SEARCH_PATH, "").split(os.pathsep)))


def task_names() -> list[str]:
    """Return the names of all tasks."""
    return sorted({module.name for module in pkgutil.iter_modules(__path__) if module.ispkg})


def config_type(name: str) -> "type[FitConfig]":
    """Return the configuration of a task; imports nothing heavy.

    Raises
    ------
    UserError
        When there is no such task.
    """
    _check(name)
    return import_module(f"{__name__}.{name}.config").Config


def load_task_type(name: str) -> "type[AnyTask]":
    """Return what a task is.

    Raises
    ------
    UserError
        When there is no such task.
    """
    _check(name)
    return import_module(f"{__name__}.{name}.task").TASK


def _check(name: str) -> None:
    names = task_names()
    if name not in names:
        raise UserError(
            f"task {name!r} does not exist; there are {', '.join(names)} (folders of "
            f"training/tasks and of {SEARCH_PATH})"
        )
