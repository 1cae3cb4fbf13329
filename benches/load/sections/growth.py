"""What a thousand times as many accounts and sessions cost."""

import signal
import time

import seed
import wrk
from rounds import disturbance, in_turns, of_server, spread
from sections.logins import login
from servers import Hallpass
from wrk import Load, request

# Sessions that are used, of accounts from all over the table.
REAL = 256
# Of those, for each round of refreshes: they are not known any more afterwards.
SLICE = 32
STARTS = 3


def run(bench):
    report = bench.report
    small, large = 1_000, 50_000 if bench.quick else 1_000_000
    rounds, seconds = (3, 1) if bench.quick else (6, 2)
    report.heading(f"Growth: {large:,} accounts and sessions beside {small:,}")
    grown = {f"{count:,}": Grown(bench, count) for count in (small, large)}
    one, other = grown

    subjects = {
        "POST /login": lambda each: Load(each.server.port, [login(name) for name in each.names], 4),
        "GET /me": lambda each: Load(each.server.port, [request("GET", "/me", token) for token in each.access]),
        "POST /refresh": lambda each: Load(each.server.port, each.next_slice(), 16, "refresh"),
    }
    for name, load in subjects.items():
        found = in_turns(
            {
                f"{name}, {count}": of_server(each.server, bench.folder, lambda each=each: load(each), seconds)
                for count, each in grown.items()
            },
            rounds,
        )
        report.compared(f"growth {name}", found)
        few, many = found[f"{name}, {one}"], found[f"{name}, {other}"]
        others = disturbance(few, many)
        by_cpu = [b.cpu_us / a.cpu_us for a, b in zip(few, many)]
        for part, key in (("median", "p50_us"), ("p99", "p99_us")):
            values = [getattr(b, key) / getattr(a, key) for a, b in zip(few, many)]
            cpu = by_cpu if part == "median" else None
            report.at_most(f"{name}: {part}, {other} ÷ {one}", 1.2, values, cpu, others)
    starts(bench, grown[other], other)


class Grown:
    """A server whose database was filled."""

    def __init__(self, bench, count):
        path = bench.folder / f"growth-{count}.db"
        begun = time.monotonic()
        self.server = Hallpass(bench.hallpass, path)
        self.server.ready = "/readyz"
        self.server.add_user("johndoe")
        seed.add_users(path, count)
        self.server.start()
        self.names = [f"user{n * count // REAL:07}" for n in range(REAL)]
        opened = [self.server.log_in(name) for name in self.names]
        self.access = [each["access_token"] for each in opened]
        # Every eighth: a slice, too, is of all over the table.
        self.refresh = [opened[n::REAL // SLICE] for n in range(REAL // SLICE)]
        self.server.stop()
        sessions = seed.add_sessions(path, "johndoe")
        mib = path.stat().st_size / 1024**2
        bench.report.note(f"{sessions:,} sessions: {mib:,.1f} MiB, made in {time.monotonic() - begun:.0f} s.")
        self.server.start()

    def next_slice(self):
        return [each["refresh_token"] for each in self.refresh.pop()]


def starts(bench, grown, count):
    """From exec to the first 200 of /readyz."""
    server, clean, killed = grown.server, [], []
    for _ in range(STARTS):
        server.stop()
        clean.append(server.start())
    for _ in range(STARTS):
        tokens = [server.log_in(name)["refresh_token"] for name in grown.names[:SLICE]]
        load = Load(server.port, tokens, 16, "refresh", lenient=True)
        writing = wrk.Running(bench.folder, load, 2)
        time.sleep(1)
        server.stop(signal.SIGKILL)
        writing.result()
        killed.append(server.start())
    name = f"start to /readyz with {count}"
    bench.report.at_most(f"{name}, after a stop", 1, clean, unit=" s")
    bench.report.at_most(f"{name}, after a kill", 1, killed, unit=" s")
    stopped, ended = 1000 * spread(clean)[1], 1000 * spread(killed)[1]
    bench.report.note(f"Starts took {stopped:.0f} ms after a stop, and {ended:.0f} ms after a kill.")
