"""Train runs together with other processes: python -m tests.training.together RANK SIZE PORT JOBS.

JOBS: a JSON list of runs, each with a function's name, train or resume, and its arguments. A run
may name the step after which it stops.
"""

import json
import os
import sys
from typing import Any

import charrnn
from charrnn.training.group import Group
from charrnn.training.processes import connected
from tests.training.runs import stopping


def run_all(jobs: list[dict[str, Any]], group: Group) -> None:
    """Do all jobs, one after the other."""
    for job in jobs:
        watching = stopping(job["stop"]) if "stop" in job else {}
        function = getattr(charrnn, job["function"])
        function(*job["positional"], **job["named"], **watching, threads=1, group=group)


if __name__ == "__main__":
    rank, size, port = map(int, sys.argv[1:4])
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    with connected(rank, size, "127.0.0.1", port) as group:
        run_all(json.loads(sys.argv[4]), group)
    sys.stderr.flush()
    os._exit(0)  # see charrnn.cli.processes
