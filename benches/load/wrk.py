"""Runs wrk, the load generator, and reads what its scripts report."""

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import machine

LUA = Path(__file__).parent / "lua"


class Failed(Exception):
    """Something could not be measured."""


def check():
    if shutil.which("wrk") is None:
        raise Failed("wrk is missing; on Debian: apt-get install wrk")


def request(method, path, token="", body=""):
    """A line for requests.lua."""
    return "\t".join([method, path, f"Bearer {token}" if token and " " not in token else token, body])


@dataclass
class Load:
    """What to send: lines for requests.lua, or refresh tokens for refresh.lua."""

    port: int
    lines: list
    connections: int = 16
    script: str = "requests"
    # Milliseconds between an answer and the next request of its connection; 0 is none.
    pause: float = 0
    # Whether to count the answers by status.
    statuses: bool = False
    # Whether an answer that is not 2xx is a result and no failure.
    lenient: bool = False


@dataclass
class Result:
    requests: int
    seconds: float
    p50_us: int
    p99_us: int
    max_us: int
    # Answers of 400 and above.
    not_ok: int
    socket_errors: int
    # The part of the time that wrk kept its core busy. Near 1, it is wrk that was measured.
    busy: float
    statuses: dict = field(default_factory=dict)

    @property
    def rate(self):
        return self.requests / self.seconds


class Running:
    """wrk under way."""

    files = 0

    def __init__(self, folder, load, seconds):
        Running.files += 1
        file = Path(folder) / f"wrk-{Running.files}.txt"
        file.write_text("".join(line + "\n" for line in load.lines))
        threads = min(len(machine.LOADING), load.connections, len(load.lines))
        environment = {
            "PATH": os.environ["PATH"],
            "LOAD_LUA": str(LUA),
            "LOAD_FILE": str(file),
            "LOAD_THREADS": str(threads),
            "LOAD_PAUSE_MS": str(load.pause),
        }
        if load.statuses:
            environment["LOAD_STATUSES"] = "1"
        if load.script == "requests" and len(load.lines) == 1:
            environment["LOAD_ONE"] = "1"
        self.load = load
        self.begun = time.monotonic()
        command = ["wrk", f"-t{threads}", f"-c{load.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
        command += ["-s", str(LUA / f"{load.script}.lua"), f"http://127.0.0.1:{load.port}/"]
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def result(self):
        """Waits for its end."""
        output = self.process.stdout.read()
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        found = [line for line in output.splitlines() if line.startswith("REPORT ")]
        if self.process.returncode != 0 or not found:
            raise Failed(f"wrk failed:\n{output}")
        report = json.loads(found[0].removeprefix("REPORT "))
        seconds = report["duration_us"] / 1e6
        result = Result(
            requests=report["requests"],
            seconds=seconds,
            p50_us=report["p50_us"],
            p99_us=report["p99_us"],
            max_us=report["max_us"],
            not_ok=report["not_ok"],
            socket_errors=sum(report[kind] for kind in ("connect", "read", "write", "timeout")),
            busy=(usage.ru_utime + usage.ru_stime) / seconds / len(machine.LOADING),
            statuses=report["statuses"],
        )
        if result.requests == 0:
            raise Failed(f"no answer in {seconds:.0f} s: {self.load.lines[0]}")
        if not self.load.lenient and (result.not_ok or result.socket_errors):
            raise Failed(f"{result.not_ok} answers not 2xx, {result.socket_errors} socket errors: {self.load.lines[0]}")
        return result


def run(folder, load, seconds):
    return Running(folder, load, seconds).result()
