"""The machine: its cores, who runs on which, and what /proc tells."""

import contextlib
import os
import platform
import subprocess
import time
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))
# With one core the load takes its time from what it measures.
SERVING = CORES[: max(1, len(CORES) // 2)]
LOADING = CORES[len(CORES) // 2 :]
# Of /proc, a second.
TICKS = os.sysconf("SC_CLK_TCK")


def keep_off():
    """The harness, and what it starts from now on, leaves the serving cores alone."""
    os.sched_setaffinity(0, LOADING)


@contextlib.contextmanager
def serving():
    """What is started in here inherits the serving cores."""
    os.sched_setaffinity(0, SERVING)
    try:
        yield
    finally:
        os.sched_setaffinity(0, LOADING)


def cpu_seconds(pid):
    """How long the threads of a process have run, those that have ended too."""
    # The name between brackets may have blanks.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def serving_seconds():
    """How long the serving cores have been busy, with whatever."""
    names, ticks = {f"cpu{core}" for core in SERVING}, 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in names:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            ticks += user + nice + system + irq + softirq + steal
    return ticks / TICKS


class Others:
    """Which part of the serving cores went to other programs than this server while the `with` lasted."""

    def __init__(self, cpu):
        self.cpu, self.part = cpu, 0

    def __enter__(self):
        self.begun, self.ours, self.all = time.monotonic(), self.cpu(), serving_seconds()
        return self

    def __exit__(self, *_):
        self.spent = self.cpu() - self.ours
        spent = serving_seconds() - self.all - self.spent
        self.part = max(0, spent / (time.monotonic() - self.begun) / len(SERVING))


def memory_mib(pid):
    """Resident memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def filesystem(folder):
    """The kind of file system that a folder is on."""
    found = subprocess.run(["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def sync_microseconds(folder, times=200):
    """How long it takes, in the median, until 4 KiB more of a file are on the disk."""
    path, spent = Path(folder) / "sync", []
    with open(path, "wb", buffering=0) as file:
        for _ in range(times):
            file.write(b"\0" * 4096)
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            spent.append(time.perf_counter() - begun)
    path.unlink()
    return 1e6 * sorted(spent)[times // 2]


def describe():
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {"cpu": model, "cores": len(CORES), "kernel": platform.release(), "python": platform.python_version()}
