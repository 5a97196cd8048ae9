"""FastJet's notice, shown once in a run and not by each of its jobs.

Its authors ask that users see it: by hand each command shows it, as FastJet does by itself.
"""

import os

SHOWN = "FASTJET_NOTICE_SHOWN"


def show_notice() -> None:
    """Write FastJet's notice on the standard output."""
    from fastjet._swig import ClusterSequence

    ClusterSequence.print_banner()


def leave_to_the_run() -> None:
    """Let the jobs of this process and its children be silent: the run shows the notice."""
    os.environ[SHOWN] = "yes"


def silence_where_shown() -> None:
    """Keep FastJet in this process from showing its notice, if the run did."""
    if SHOWN in os.environ:
        from fastjet._swig import ClusterSequence

        ClusterSequence.set_fastjet_banner_stream(None)
