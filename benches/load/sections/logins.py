"""Logins against the argon2 that is in them, and against the logins of others."""

import json

import machine
import peers
from rounds import in_turns, of_program, of_server, ratios
from servers import PASSWORD, Hallpass
from wrk import Load, request

# Enough to keep the hash threads busy, and fewer than their queue takes.
CONNECTIONS = 8
PEER_CONNECTIONS = 4
# An account has at most 50 sessions; spread, few are ended.
ACCOUNTS = 16


def run(bench):
    threads = len(machine.SERVING)
    bench.report.heading(f"Logins, {threads} hash thread(s), {CONNECTIONS} connections (peers: {PEER_CONNECTIONS})")
    rounds, seconds = (3, 2) if bench.quick else (7, 4)
    server = Hallpass(bench.hallpass, bench.folder / "logins.db")
    server.start()
    lines = [login(name) for name in server.register(ACCOUNTS)]
    subjects = {
        "argon2 alone": of_program([bench.bare, "argon2", seconds]),
        "POST /login": of_server(server, bench.folder, Load(server.port, lines, CONNECTIONS), seconds),
    }
    for name, (peer, _, line) in {
        "fastapi-users": peers.fastapi_users(bench.folder),
        "PocketBase": peers.pocketbase(bench.folder),
    }.items():
        # They take longer for each, so that a round of the same length would count only a few.
        subjects[name] = of_server(peer, bench.folder, Load(peer.port, [line], PEER_CONNECTIONS), 2 * seconds)
    found = in_turns(subjects, rounds)
    bench.report.compared("logins", found)
    bench.report.note("Hashes differ: Hallpass argon2id 19 MiB, 2 passes, 1 lane; fastapi-users argon2id 64 MiB,")
    bench.report.note("3 passes, 4 lanes; PocketBase bcrypt of cost 10.")
    bench.report.at_least("POST /login ÷ argon2 alone", 0.95, *ratios(found["POST /login"], found["argon2 alone"]))


def login(name):
    return request("POST", "/login", "", json.dumps({"username": name, "password": PASSWORD}))
