"""Whether time tells a name or an address that is known from one that is not.

Pairs of requests, one of each in random order, one after the other over one connection. The statistic is the probability
that the known one took longer (AUC): 0.5 if time tells nothing.
"""

import asyncio
import bisect
import http.client
import json
import random
import re
import time

from aiosmtpd.controller import Controller
from rounds import spread
from servers import PASSWORD, Hallpass, ask, free_port
from wrk import Failed

ACCOUNTS = 40


class Sink:
    """A mail server that is slow, and finds the links in what it takes."""

    def __init__(self):
        self.tokens = []

    async def handle_DATA(self, server, session, envelope):
        await asyncio.sleep(0.2)
        # Quoted-printable may have broken it into lines.
        text = envelope.content.decode().replace("=\r\n", "").replace("=3D", "=")
        self.tokens += re.findall(r"/verify\?token=([\w-]+)", text)[:1]
        return "250 taken"


def run(bench):
    pairs = 200 if bench.quick else 2000
    bench.report.heading(f"Known and unknown names, {pairs:,} pairs each")
    sink, port = Sink(), free_port()
    mail = Controller(sink, hostname="127.0.0.1", port=port)
    mail.start()
    settings = {"SMTP_URL": f"smtp://127.0.0.1:{port}", "MAIL_FROM": "login@example.com"}
    server = Hallpass(bench.hallpass, bench.folder / "timing.db", settings)
    server.start()
    names = [f"known{n}" for n in range(ACCOUNTS)]
    for name in names:
        form = {"username": name, "password": PASSWORD, "email": f"{name}@example.org"}
        ask(server.port, "POST", "/register", form, expect=(201,))
    prove(server, sink)

    def login(n, name):
        return "/login", {"username": name, "password": "not the one"}

    def by_address(n, name):
        return "/login", {"username": f"{name}@example.org", "password": "not the one"}

    def forgot(n, name):
        return "/password/forgot", {"email": f"{name}@example.org"}

    def resend(n, name):
        return "/email/resend", {"email": f"{name}@example.org"}

    def register(n, name):
        return "/register", {"username": f"new{n}", "password": PASSWORD, "email": f"{name}@example.org"}

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for make in (login, by_address, forgot, resend, register):
        known, unknown = [], []
        for n in range(pairs):
            both = [(known, names[n % ACCOUNTS]), (unknown, f"knowm{n % ACCOUNTS}")]
            random.shuffle(both)
            for place, (times, name) in enumerate(both):
                times.append(timed(connection, *make(2 * n + place, name)))
        judge(bench.report, make.__name__.replace("_", " "), known, unknown)
    server.stop()
    mail.stop()


def prove(server, sink):
    """Follows the links that were mailed."""
    begun = time.perf_counter()
    while len(sink.tokens) < ACCOUNTS:
        if time.perf_counter() - begun > 60:
            raise Failed(f"{len(sink.tokens)} of {ACCOUNTS} mails arrived")
        time.sleep(0.1)
    for token in sink.tokens:
        ask(server.port, "POST", "/email/verify", {"token": token}, expect=(204,))


def timed(connection, path, body):
    """In milliseconds."""
    begun = time.perf_counter()
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        # A connection ends after five minutes.
        connection.close()
        return timed(connection, path, body)
    if answer.status not in (201, 202, 401):
        raise Failed(f"{path} answered {answer.status}")
    return 1000 * (time.perf_counter() - begun)


def judge(report, name, known, unknown):
    ranked = sorted(unknown)
    longer = sum(bisect.bisect_left(ranked, each) + bisect.bisect_right(ranked, each) for each in known)
    auc = longer / (2 * len(known) * len(unknown))
    middles = f"{spread(known)[1]:.2f} and {spread(unknown)[1]:.2f} ms"
    report.note(f"{name}: AUC {auc:.3f}; known and unknown took {middles} in the middle.")
    report.at_most(f"{name}: AUC from 0.5", 0.03, [abs(auc - 0.5)])
