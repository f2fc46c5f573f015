"""Runs a command and says what it took."""

import os
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass


@dataclass
class Run:
    """What a command took."""

    wall: float  # seconds from its start to its end
    cpu: float  # seconds of user and system time, of it and of all descendants that were waited for
    rss: float  # MiB: the largest resident set of a single process of them
    error: str  # empty when it succeeded


def emptied(*folders):
    """Empties the folders, and waits until the disk has nothing to write that is of the run before."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
    os.sync()


def warmed(folder):
    """Reads all files of a folder, so that they are in the page cache; their bytes."""
    total = 0
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb", buffering=0) as file:
            while block := file.read(1 << 20):
                total += len(block)
    return total


def timed(command, env, log):
    """Runs a command of bash. Its output goes to the file `log`."""
    with open(log, "wb") as output:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.monotonic()
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", command], env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    error = ""
    if process.returncode:
        with open(log, errors="replace") as output:
            error = f"exit code {process.returncode}: {output.read()[-500:].strip()}"
    return Run(wall, cpu, usage.ru_maxrss / 1024, error)
