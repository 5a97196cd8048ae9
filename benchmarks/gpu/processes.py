"""Processes that prepare their rows beside each other, and measure them one after the other.

Compiling keeps processors busy for minutes in all, which those of a machine share; a GPU is only
measured by one process at a time. A row that breaks its process, half a captured graph say, leaves
the other rows to a new one.
"""

import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from typing import Any

import torch
from torch._inductor import config as inductor

from benchmarks.gpu.plan import Planned, Unit
from benchmarks.gpu.settings import Row, Settings

# The share of the time after which all must be prepared.
PREPARED = 0.65
# No row is measured for longer; what is prepared anew has so long.
ROW_SECONDS, AGAIN_SECONDS = 20, 90
NO_TIME = "no time was left"
# Of the threads that compile kernels each process has so many.
COMPILERS = 2
# A GPU cannot be used by a fork.
CONTEXT = multiprocessing.get_context("spawn")

Message = tuple[str, Any]  # what is said, and about what
AT, ROW, READY, DONE, LATE, ENDED = "at", "row", "ready", "done", "late", "ended"


def work(
    unit: Unit,
    wanted: list[str],
    settings: Settings,
    slots: Semaphore,
    connection: Connection,
    folder: Path,
) -> None:
    """Prepare the wanted rows of a unit, wait for the turn, and measure them.

    Parameters
    ----------
    unit
        Whose rows.
    wanted
        Their labels.
    settings
        Where.
    slots
        One is taken until all is prepared.
    connection
        Takes the word to go on, and is told what happens.
    folder
        For files that rows need.
    """
    torch.set_num_threads(1)
    inductor.compile_threads = COMPILERS
    has_turn = False
    slots.acquire()

    def turn() -> None:
        nonlocal has_turn
        if not has_turn:
            slots.release()
            connection.send((READY, None))
            connection.recv()
            has_turn = True

    def attempt(planned: Planned, work: Callable[[], Any]) -> Any:
        """Return what some work gives; what it fails with is the row, and on a GPU the end."""
        connection.send((AT, planned.label))
        try:
            return work()
        except Exception as error:
            traceback.print_exc()
            said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            connection.send((ROW, {"row": planned.label, **planned.names, "error": said}))
            if settings.device.type == "cuda":
                if not has_turn:
                    slots.release()
                connection.close()
                sys.exit(1)
            return None

    with tempfile.TemporaryDirectory(dir=folder) as own:
        rows = [row for row in unit.rows(settings, Path(own), turn) if row.label in wanted]
        seconds: dict[str, float] = {}
        prepared: dict[str, Callable[[], Row] | None] = {}
        for row in rows:
            if row.early:
                started = time.perf_counter()
                prepared[row.label] = attempt(row, row.prepare)
                seconds[row.label] = time.perf_counter() - started
        turn()
        for row in rows:
            started = time.perf_counter()
            if row.label not in prepared:
                prepared[row.label] = attempt(row, row.prepare)
            measure = prepared.pop(row.label)
            found = None if measure is None else attempt(row, measure)
            if found is None:
                continue
            spent = seconds.get(row.label, 0.0) + time.perf_counter() - started
            connection.send((ROW, {"row": row.label, **row.names, **found, "seconds": spent}))
    connection.send((DONE, None))


class Worker:
    """A process, seen from the one that started it."""

    def __init__(
        self,
        unit: Unit,
        rows: list[Planned],
        settings: Settings,
        slots: Semaphore,
        folder: Path,
    ):
        self.unit, self.missing = unit, {row.label: row for row in rows}
        self.slots = slots  # which would vanish with its last owner before the process sees it
        self.at: str | None = None
        self.connection, theirs = CONTEXT.Pipe()
        arguments = unit, list(self.missing), settings, slots, theirs, folder
        self.process = CONTEXT.Process(target=work, args=arguments)
        self.process.start()
        theirs.close()

    def hear(self, seconds: float) -> Message:
        """Return what it says next: that it is late if nothing, or that it ended."""
        if not self.connection.poll(max(seconds, 0)):
            return LATE, f"took longer than {seconds:.0f} s"
        try:
            message: Message = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join(5)
            return ENDED, f"the process ended with {self.process.exitcode}"
        return message

    def kill(self) -> None:
        """End it."""
        self.process.kill()
        self.process.join()


class Measurement:
    """All units of a call.

    Parameters
    ----------
    settings
        Where and how long.
    units
        With the rows that are wanted of each.
    report
        Is called with each row.
    """

    def __init__(
        self,
        settings: Settings,
        units: Sequence[tuple[Unit, list[Planned]]],
        report: Callable[[Row], None],
    ):
        self.settings, self.report = settings, report
        self.begin = time.perf_counter()
        # Who is killed leaves its files.
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        slots = CONTEXT.Semaphore(max(os.cpu_count() or 1, 2))
        self.workers = [Worker(*unit, settings, slots, Path(self.folder.name)) for unit in units]

    def run(self) -> None:
        """Prepare and measure everything; what there is no time for says so."""
        try:
            ready = deque(self._prepared(self._left() - (1 - PREPARED) * self.settings.seconds))
            while ready:
                number = ready.popleft()
                worker = self.workers[number]
                # The word to go on, which what is no more does not hear.
                with suppress(OSError):
                    worker.connection.send(None)
                # What broke comes last, and is prepared alone.
                if not self._reaches(number, DONE, ROW_SECONDS) and self._begins_anew(number):
                    if self._reaches(number, READY, AGAIN_SECONDS):
                        ready.append(number)
                    else:
                        self._give_up(number)
        finally:
            for worker in self.workers:
                worker.kill()
            self.folder.cleanup()

    def _left(self) -> float:
        return max(self.begin + self.settings.seconds - time.perf_counter(), 0)

    def _prepared(self, seconds: float) -> list[int]:
        """Return which workers are ready in time."""
        end = time.perf_counter() + seconds
        pending = set(range(len(self.workers)))
        while pending and (left := end - time.perf_counter()) > 0:
            numbers = {self.workers[number].connection: number for number in pending}
            for connection in wait(list(numbers), left):
                number = numbers[connection]  # type: ignore[index]
                kind = self._hear(number, 1)
                if kind == READY or (kind == ENDED and not self._begins_anew(number)):
                    pending.discard(number)
        for number in pending:
            self._give_up(number)
        return [number for number, worker in enumerate(self.workers) if worker.missing]

    def _reaches(self, number: int, goal: str, seconds: float) -> bool:
        """Listen to a worker until it says so, and return whether it does."""
        while self._left():
            kind = self._hear(number, min(seconds, self._left()))
            if kind == goal:
                return True
            if kind in (LATE, ENDED):
                break
        return False

    def _hear(self, number: int, seconds: float) -> str:
        """Listen to a worker once, and return of what kind it was."""
        worker = self.workers[number]
        kind, value = worker.hear(seconds)
        if kind == AT:
            worker.at = value
        elif kind == ROW:
            self._told(worker, value)
        elif kind in (LATE, ENDED) and (worker.at in worker.missing or worker.at is None):
            # Who says nothing at all would not say more the next time.
            said = value if kind == ENDED or self._left() else NO_TIME
            for label in [worker.at] if worker.at else list(worker.missing):
                row = worker.missing[label]
                self._told(worker, {"row": label, **row.names, "error": said})
        return kind

    def _told(self, worker: Worker, row: Row) -> None:
        worker.missing.pop(row["row"])
        self.report(row)

    def _begins_anew(self, number: int) -> bool:
        """Replace a worker by one for what is missing, and return whether anything is."""
        old = self.workers[number]
        old.kill()
        if old.missing and self._left():
            rows = list(old.missing.values())
            # Who was killed may have kept a slot.
            self.workers[number] = Worker(
                old.unit, rows, self.settings, CONTEXT.Semaphore(1), Path(self.folder.name)
            )
            return True
        self._give_up(number)
        return False

    def _give_up(self, number: int) -> None:
        """Let what a worker has not measured say that there was no time."""
        worker = self.workers[number]
        worker.kill()
        for label, row in list(worker.missing.items()):
            self._told(worker, {"row": label, **row.names, "error": NO_TIME})
