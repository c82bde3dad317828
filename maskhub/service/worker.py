"""One training job in a separate process, ``python -m maskhub.service.worker JOB``, started by the supervisor.

The process holds the job's lock as long as it lives, so others can tell whether it is alive without relying on process
ids. If a job is started twice, by two apps or around a restart, the second process exits at once.
"""

import os
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

from maskhub.json_file import read_json, write_json
from maskhub.service.home import JOB

__all__ = ["EXIT", "LOCK", "PROCESS", "TAKEN", "main"]

LOCK, PROCESS, EXIT = "lock", "process.json", "exit.json"
TASKS = {"generator": "reimaging", "classifier": "classifier"}
"""Kind of a job → its method."""
TAKEN = 3
"""Exit code if another process runs the job."""


def main(folder):
    """Train or resume the job described by ``recipe.yaml`` in its folder; returns the exit code."""
    folder = Path(folder)
    lock = FileLock(folder / LOCK, timeout=2)  # longer than a check of whether it is held takes
    try:
        with lock:
            return _train(folder)
    except Timeout:
        return TAKEN


def _train(folder):
    import psutil

    process = psutil.Process()
    write_json(folder / PROCESS, {"pid": process.pid, "started": process.create_time(), "since": time.time()})
    if hasattr(os, "nice"):
        os.nice(5)  # the app has priority
    from maskhub.training.launch import launch
    from maskhub.training.registry import task_class

    code = 0
    try:
        options = ["--recipe", str(folder / "recipe.yaml"), "--output", str(folder / "run"), "--resume", "latest"]
        launch(task_class(TASKS[(read_json(folder / JOB) or {}).get("kind", "generator")]), __doc__, options)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        write_json(folder / EXIT, {"code": 1})
        raise
    write_json(folder / EXIT, {"code": code})
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
