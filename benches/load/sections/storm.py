"""Five times as many logins as the cores can hash, and what others notice of it."""

import time
from collections import Counter

import machine
import wrk
from rounds import spread
from sections.logins import ACCOUNTS, login
from servers import Hallpass
from stormers import Memory, Prober
from wrk import Load, request

FACTOR = 5
# Milliseconds between an answer and a connection's next login.
PAUSE = 200
# HASH_QUEUE, and what is being hashed: so many connections of the storm wait rather than send.
QUEUE = 32
# The probes are light: 200 a second each.
PROBES = 8
PROBE_PAUSE = 1000 * PROBES / 200
# Room for what an argon2id of 19 MiB takes in each hash thread, and for connections.
HASH_MIB, ROOM_MIB = 19, 64


def run(bench):
    report, quick = bench.report, bench.quick
    segments = 2 if quick else 5
    length = max(5, bench.storm_seconds // segments)
    report.heading(f"A storm of logins: {FACTOR} × capacity for {segments * length} s")
    server = Hallpass(bench.hallpass, bench.folder / "storm.db")
    server.start()
    time.sleep(2)
    idle = server.memory()
    attackers = [login(name) for name in server.register(ACCOUNTS, "attacker")]
    others = server.register(2 * PROBES, "other")
    # Others than those who are watched: an account has at most 50 sessions.
    probers = server.register(ACCOUNTS, "prober")
    tokens = [server.log_in(name)["access_token"] for name in others]
    me = Load(server.port, [request("GET", "/me", each) for each in tokens], PROBES, pause=PROBE_PAUSE)
    me.lenient = me.statuses = True
    pools = [[server.log_in(name)["refresh_token"] for name in others] for _ in range(2 * segments)]

    def probe(seconds):
        """GET /me and POST /refresh at the same time."""
        refresh = Load(server.port, pools.pop(), PROBES, "refresh", PROBE_PAUSE, statuses=True, lenient=True)
        running = [wrk.Running(bench.folder, load, seconds) for load in (me, refresh)]
        return [each.result() for each in running]

    def capacity():
        load = Load(server.port, attackers, 16)
        return [wrk.run(bench.folder, load, 2 if quick else 5).rate for _ in range(3)]

    with machine.Others(server.cpu) as others_before:
        before = capacity()
        calm = [probe(5 if quick else 20) for _ in range(segments)]
    most = spread(before)[1]
    connections = QUEUE + len(machine.SERVING) + round(1.1 * FACTOR * most * PAUSE / 1000)
    flood = Load(server.port, attackers, connections, pause=PAUSE, statuses=True, lenient=True)
    with Memory(server) as memory, Prober(server.port, probers) as prober, machine.Others(server.cpu) as others_in:
        running = wrk.Running(bench.folder, flood, segments * length + 2)
        # Until every connection is there.
        time.sleep(2)
        stormy = [probe(length) for _ in range(segments)]
        stormed = running.result()
    capacities = before + capacity()
    if not prober.refused_ms:
        raise wrk.Failed("no login of the prober was refused: there was no storm")

    answered = Counter(stormed.statuses) + Counter(prober.statuses)
    good, refused, offered = answered["200"], answered["503"], answered.total() / stormed.seconds
    report.note(f"Capacity {spread(capacities)[1]:.0f} logins a second. Offered on {connections} connections and by")
    report.note(f"the prober: {offered:.0f}, {offered / most:.1f} × that. Answers: {good} × 200, {refused} × 503,")
    report.note(f"{answered.total() - good - refused} others; {stormed.socket_errors} socket errors.")
    refusals = prober.refused_ms
    report.note(f"The prober timed {len(refusals)} refusals: median {spread(refusals)[1]:.1f} ms.")
    report.note(f"Other programs took {100 * others_before.part:.0f} % of the serving cores before the storm, and")
    report.note(f"{100 * others_in.part:.0f} % in it.")
    goodput = [good / stormed.seconds / each for each in capacities]
    disturbed = max(others_before.part, others_in.part)
    report.at_least("storm: goodput ÷ capacity", 0.90, goodput, others=disturbed)
    report.at_most("storm: p99 of a refusal (503)", 100, [percentile(refusals, 0.99)], unit=" ms")
    for place, name in enumerate(("GET /me", "POST /refresh")):
        quiet, loud = ([pair[place] for pair in pairs] for pairs in (calm, stormy))
        for when, results in (("before", quiet), ("in the storm", loud)):
            rate, middle, last = (middle_of(results, key) for key in ("rate", "p50_us", "p99_us"))
            text = f"{rate:.0f} a second, median {middle / 1000:.2f} ms, p99 {last / 1000:.2f} ms."
            report.note(f"{name} {when}: {text}")
        usual = middle_of(quiet, "p99_us")
        report.at_most(f"storm: {name} p99 ÷ before", 2, [result.p99_us / usual for result in loud], others=disturbed)
    probed = sum((Counter(result.statuses) for pair in stormy for result in pair), Counter())
    report.at_most("storm: answers to /me, /refresh not 200", 0, [probed.total() - probed["200"]])
    bound = idle + HASH_MIB * len(machine.SERVING) + ROOM_MIB
    report.note(f"Memory: {idle:.1f} MiB before the first request, {memory.most:.1f} MiB at most.")
    report.at_most("storm: memory", round(bound), [memory.most], unit=" MiB")


def middle_of(results, key):
    return spread(getattr(result, key) for result in results)[1]


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(part * len(values)))]
