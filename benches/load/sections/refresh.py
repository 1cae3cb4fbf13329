"""Refreshes in parallel against one synced transaction for each."""

import machine
from rounds import in_turns, of_program, of_server, ratios
from servers import Hallpass, ask
from wrk import Failed, Load

SESSIONS = 64


def run(bench):
    bench.report.heading(f"Refreshes, {SESSIONS} connections, each with a session of its own")
    rounds, seconds = (3, 2) if bench.quick else (7, 4)
    server = Hallpass(bench.hallpass, bench.folder / "refresh.db")
    server.start()
    names = server.register(SESSIONS)
    check(server, names[0])

    def load():
        # New sessions each round: what is under way when wrk stops is never heard of.
        tokens = [server.log_in(name)["refresh_token"] for name in names]
        return Load(server.port, tokens, SESSIONS, "refresh")

    found = in_turns(
        {
            "one transaction each": of_program([bench.bare, "commits", bench.folder / "commits.db", seconds]),
            "POST /refresh": of_server(server, bench.folder, load, seconds),
        },
        rounds,
    )
    bench.report.compared("refresh", found)
    sync, kind = machine.sync_microseconds(bench.folder), machine.filesystem(bench.folder)
    truth = "so it syncs" if sync > 20 else "which no disk does: it does not sync"
    bench.report.note(f"On this {kind}, 4 KiB more of a file are synced after {sync:.0f} µs (median), {truth}.")
    one, other = found["POST /refresh"], found["one transaction each"]
    bench.report.at_least("POST /refresh ÷ one transaction each", 5, *ratios(one, other))


def check(server, name):
    """A refresh token is answered with another one that works."""
    first = server.log_in(name)["refresh_token"]
    second = ask(server.port, "POST", "/refresh", {"refresh_token": first})["refresh_token"]
    third = ask(server.port, "POST", "/refresh", {"refresh_token": second})["refresh_token"]
    if len({first, second, third}) != 3:
        raise Failed("POST /refresh answers the same token again")
