"""Runs what is compared in turns, so that whatever else the machine does falls on all of it."""

import resource
import subprocess
import time
from dataclasses import dataclass

import machine
import wrk

# From here on, the load is what was measured.
TOO_BUSY = 0.95


@dataclass
class Round:
    per_second: float
    # What one took of the serving cores: other programs disturb it less than the rate.
    cpu_us: float
    # The part of the time that the load kept its cores busy; none if there was none.
    busy: float = 0
    # The part of the serving cores that went to other programs.
    others: float = 0
    p50_us: float = 0
    p99_us: float = 0


def of_server(server, folder, load, seconds):
    """Sends a load to a server. `load` may be a function that makes it, which is not measured."""

    def measure():
        made = load() if callable(load) else load
        with machine.Others(server.cpu) as others:
            result = wrk.run(folder, made, seconds)
        cpu_us = 1e6 * others.spent / result.requests
        return Round(result.rate, cpu_us, result.busy, others.part, result.p50_us, result.p99_us)

    return measure


def of_program(command):
    """Runs a program on the serving cores that prints how often and in which time."""

    def children():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def measure():
        with machine.Others(children) as others:
            with machine.serving():
                process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
            output = process.communicate()[0].split()
        if process.returncode != 0 or len(output) != 2:
            raise wrk.Failed(f"{command[0]} {command[1]} failed")
        count, seconds = int(output[0]), float(output[1])
        return Round(count / seconds, 1e6 * others.spent / count, others=others.part)

    return measure


def in_turns(subjects, rounds, warm=True):
    """`subjects`: a function that measures by name. The rounds of each, by name."""
    if warm:
        # The first time, files are read and code is compiled.
        for measure in subjects.values():
            measure()
    found = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, measure in subjects.items():
            found[name].append(measure())
            time.sleep(0.05)
    return found


def ratios(ones, others):
    """Of the rates, round by round, of the processor time that one took, and how much other programs disturbed it."""
    pairs = list(zip(ones, others))
    by_rate = [a.per_second / b.per_second for a, b in pairs]
    return by_rate, [b.cpu_us / a.cpu_us for a, b in pairs], disturbance(ones, others)


def disturbance(*measured):
    """The part of the serving cores that other programs took, of the one that lost most."""
    return max(spread(round.others for round in rounds)[1] for rounds in measured)


def spread(values):
    """Least, median, greatest."""
    values = sorted(values)
    middle = len(values) // 2
    median = values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
    return values[0], median, values[-1]
