"""`python -m stack.priority DATA_DIRECTORY`: analysts' queries take the processor time that nothing else wants.

PostgreSQL has no priorities. Its processes can be told apart by their titles, and who runs the server (or root) may
make those of `tcu_analyst` and `tcu_analyst_…` idle (sched(7), SCHED_IDLE): ingestion then goes first, also where both
want every core. Linux weighs sessions against each other before it looks at a process (sched(7), autogroup), and each
backend is a session of its own: so the weight of that is lowered too, without which the policy changes nothing.
"""

import os
import signal
import sys
import time
from pathlib import Path

from stack.places import CHECKOUT, run_as
from stack.postgres import ANALYST
from stack.server import ServerCommand

LEAST = "19"
"""The nice value of a session that weighs least."""
EVERY_S = 0.5


def command(state_dir: Path) -> ServerCommand:
    """Return how to keep the analysts' priority low in the cluster of this state directory."""
    words = [sys.executable, "-m", "stack.priority", str(state_dir / "postgres" / "data")]
    return ServerCommand("analysts", run_as(None, words, stop_signal="TERM"), CHECKOUT, signal.SIGTERM)


def lower(data: Path) -> set[int]:
    """Make the analysts' backends of a cluster idle ones, and return their process ids."""
    lowered: set[int] = set()
    try:
        postmaster = int((data / "postmaster.pid").read_text().partition("\n")[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return lowered  # it starts or stops
    for child in map(int, children):
        try:
            if Path(f"/proc/{child}/cmdline").read_bytes().startswith(f"postgres: {ANALYST}".encode()):
                os.sched_setscheduler(child, os.SCHED_IDLE, os.sched_param(0))
                autogroup = Path(f"/proc/{child}/autogroup")
                if autogroup.exists():
                    autogroup.write_text(LEAST)
                lowered.add(child)
        except (FileNotFoundError, ProcessLookupError):
            continue  # its client has left
    return lowered


if __name__ == "__main__":
    while True:
        lower(Path(sys.argv[1]))
        time.sleep(EVERY_S)
