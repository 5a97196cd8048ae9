"""Which trainings of a run are members of one: the seeds of a point of a vectorised study."""

from collections.abc import Mapping, Sequence

from provenance.errors import UserError
from training.events.config import EventConfig
from workflow.config_model import Config
from workflow.fits import Fit, Point


def ensembles(
    config: Config, fits: Mapping[str, Fit], points: Mapping[str, Sequence[Point]]
) -> dict[str, list[Fit]]:
    """Return the members of each ensemble by its name, `<study>/<way>_<size>`.

    Raises
    ------
    UserError
        When a study is vectorised whose task or configuration cannot be, or a way has a name that
        would put all its seeds into the folder of one network.
    """
    groups: dict[str, list[Fit]] = {}
    for name, study in config.studies.items():
        for point in points[name] if study.vectorised else ():
            fit = fits[point.fit]
            if not isinstance(fit.config, EventConfig) or fit.flat_sampling:
                raise UserError(
                    f"studies.{name}.vectorised: only trainings on event objects can be, without "
                    f"flat_sampling; the task of {fit.name} is {fit.config.task}"
                )
            try:
                fit.config.check_vectorised()
            except UserError as error:
                raise UserError(f"studies.{name}.vectorised ({point.way}): {error}") from None
            folder = point.fit.rpartition("_")[0]
            if folder in fits:
                raise UserError(
                    f"studies.{name}.ways.{point.way}: its networks of all seeds would lie in the "
                    f"folder of a single one, {folder}: give the way another name"
                )
            group = groups.setdefault(folder, [])
            if fit not in group:
                group.append(fit)
    return groups
