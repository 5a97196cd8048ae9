"""A real Slurm on this machine: munge, one controller and one node, started and stopped by a test.

Needs root and the Debian packages `slurm-wlm` and `munge`. Everything it writes lies in one folder;
the ports are its own, so that a Slurm which the machine already runs is left alone.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "srun")
STARTUP_SECONDS = 30

CONFIGURATION = """\
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
# Finished jobs stay visible to squeue; there is no accounting database to ask.
MinJobAge=3600
SlurmdTimeout=30
KillWait=2
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes={host} MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Say why Slurm cannot be started here, or None."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: slurm-wlm, munge)"
    return None if os.geteuid() == 0 else "starting Slurm daemons needs root"


class LocalSlurm:
    """A controller and a node; use as a context manager.

    Parameters
    ----------
    folder
        Where configuration, state and logs are written.
    cpus
        CPUs that the node offers.
    memory
        MB that the node offers.
    """

    def __init__(self, folder: Path, cpus: int = 2, memory: int = 20_000):
        self.folder = folder
        self.host = socket.gethostname().split(".")[0]
        self.configuration = folder / "slurm.conf"
        self.environment = os.environ | {
            "SLURM_CONF": str(self.configuration),
            "PATH": os.pathsep.join([str(folder / "bin"), *os.get_exec_path()]),
        }
        self._daemons: dict[str, subprocess.Popen] = {}
        controller_port, node_port = _free_ports(2)
        for name in ("state", "spool", "bin"):
            (folder / name).mkdir(parents=True)
        # The executor clears SLURM_* before a job's own srun, which then would not find this file.
        srun = folder / "bin" / "srun"
        srun.write_text(
            f'#!/bin/sh\nSLURM_CONF={self.configuration} exec {shutil.which("srun")} "$@"\n'
        )
        srun.chmod(0o755)
        self.configuration.write_text(
            CONFIGURATION.format(
                host=self.host, folder=folder, cpus=cpus, memory=memory,
                controller_port=controller_port, node_port=node_port,
            )
        )  # fmt: skip

    def __enter__(self) -> "LocalSlurm":
        try:
            self._start_munge()
            self._start("slurmctld", "-D", "-i")
            self.start_node()
            self._wait(lambda: "idle" in self.run("sinfo", "--noheader", "--format", "%t"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._daemons)):
            self._stop(name)

    def run(self, *command: str) -> str:
        """Run a Slurm command against this cluster and return what it prints."""
        result = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )
        return result.stdout

    def start_node(self) -> None:
        """Bring the node up."""
        self._start("slurmd", "-D", "-N", self.host)

    def stop_node(self) -> None:
        """Take the node down as a crash would: the daemon and every job on it are killed."""
        pids = self.run("scontrol", "listpids").split("\n")[1:]
        for pid in (line.split()[0] for line in pids if line.strip()):
            if pid.isdigit():
                _kill(int(pid))
        self._daemons["slurmd"].kill()
        self._daemons.pop("slurmd").wait()

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        self.folder.chmod(0o755)
        self._start(
            "munged", "--foreground", "--force", f"--key-file={key}",
            f"--socket={self.folder}/munge.socket", f"--pid-file={self.folder}/munged.pid",
            f"--log-file={self.folder}/munged.log", f"--seed-file={self.folder}/munged.seed",
        )  # fmt: skip
        self._wait((self.folder / "munge.socket").exists)

    def _start(self, *command: str) -> None:
        log = (self.folder / f"{command[0]}.out").open("ab")
        self._daemons[command[0]] = subprocess.Popen(
            command, env=self.environment, stdout=log, stderr=log, start_new_session=True
        )
        log.close()

    def _stop(self, name: str) -> None:
        daemon = self._daemons.pop(name)
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def _wait(self, ready) -> None:
        deadline = time.monotonic() + STARTUP_SECONDS
        while not ready():
            if time.monotonic() > deadline:
                logs = "\n".join(
                    f"{log.name}: {log.read_text(errors='replace')[-2000:]}"
                    for log in sorted(self.folder.glob("*.log")) + sorted(self.folder.glob("*.out"))
                )
                raise TimeoutError(f"Slurm did not start within {STARTUP_SECONDS} s\n{logs}")
            time.sleep(0.2)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
