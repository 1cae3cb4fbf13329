"""How much room it takes, and how long a start."""

import time

import wrk
from sections.logins import ACCOUNTS, login
from servers import Hallpass
from wrk import Load

MIB = 1024 * 1024


def run(bench):
    report = bench.report
    report.heading("Footprint")
    report.at_most("release binary", 20, [bench.hallpass.stat().st_size / MIB], unit=" MiB")
    server = Hallpass(bench.hallpass, bench.folder / "footprint.db")
    server.start()
    names = server.register(ACCOUNTS)
    server.stop()

    server.start()
    time.sleep(5)
    report.at_most("memory, 5 s after a start", 20, [server.memory()], unit=" MiB")
    wrk.run(bench.folder, Load(server.port, [login(name) for name in names], 16), 3 if bench.quick else 10)
    report.note(f"At the end of the logins it has {server.memory():.1f} MiB.")
    time.sleep(15)
    report.at_most("memory, 15 s after logins", 20, [server.memory()], unit=" MiB")

    live, ready = [], []
    for _ in range(20):
        server.stop()
        begun = time.perf_counter()
        live.append(1000 * server.start())
        server.wait("/readyz", begun)
        ready.append(1000 * (time.perf_counter() - begun))
    report.at_most("start to /livez", 50, live, unit=" ms")
    report.at_most("start to /readyz", 50, ready, unit=" ms")
