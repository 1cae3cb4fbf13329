"""Small requests: how many a second, beside bare servers and other auth servers."""

import peers
from rounds import in_turns, of_server, ratios
from servers import Hallpass, ask
from wrk import Failed, Load, request

SESSIONS = 64


def run(bench):
    bench.report.heading("Requests a second, 16 connections kept alive; Hallpass logs nothing unless it says so")
    rounds, seconds = (3, 1) if bench.quick else (10, 2)
    subjects = {}

    def subject(name, server, *lines):
        subjects[name] = of_server(server, bench.folder, Load(server.port, list(lines)), seconds)

    subject("bare hyper", *peers.bare(bench.bare, "hyper"))
    subject("bare poem-openapi route", *peers.bare(bench.bare, "poem"))
    hs256 = hallpass(bench, "hs256", {})
    subject("GET /livez, no token", hs256, request("GET", "/livez"))
    token = session(hs256)
    # What it costs to receive a token belongs to both sides.
    subject("GET /livez", hs256, request("GET", "/livez", token))
    subject("GET /protected", hs256, request("GET", "/protected", token))
    subject("GET /me", hs256, request("GET", "/me", token))
    tokens = [session(hs256, name) for name in hs256.register(SESSIONS)]
    subject(f"GET /me, {SESSIONS} sessions", hs256, *[request("GET", "/me", token) for token in tokens])
    for algorithm in ("EdDSA", "ES256"):
        server = hallpass(bench, algorithm.lower(), {"ALGORITHM": algorithm})
        subject(f"GET /me, {algorithm}", server, request("GET", "/me", session(server)))
    # As it comes: a line of JSON for each request.
    logging = hallpass(bench, "logging", {"LOG": "info"})
    subject("GET /livez, logged", logging, request("GET", "/livez"))
    subject("GET /me, logged", logging, request("GET", "/me", session(logging)))
    subject("FastAPI tutorial", *peers.tutorial(peers.FAST))
    subject("fastapi-users", *peers.fastapi_users(bench.folder)[:2])
    subject("PocketBase", *peers.pocketbase(bench.folder)[:2])
    subject("FastAPI tutorial, logged", *peers.tutorial(peers.PLAIN))
    subject("PocketBase, logged", *peers.pocketbase(bench.folder, logs=True)[:2])

    found = in_turns(subjects, rounds)
    bench.report.compared("requests", found)

    def at_least(bound, one, other):
        name = f"{one} ÷ {other}"
        bench.report.at_least(name, bound, *ratios(found[one], found[other]))

    at_least(0.85, "GET /livez, no token", "bare poem-openapi route")
    at_least(0.90, "GET /me", "GET /livez")
    at_least(0.90, "GET /me", "GET /livez, no token")
    at_least(0.85, "GET /me, EdDSA", "GET /livez")
    at_least(0.85, "GET /me, ES256", "GET /livez")
    at_least(25, "GET /me", "FastAPI tutorial")
    at_least(20, "GET /me", "PocketBase")
    at_least(25, "GET /me, logged", "FastAPI tutorial, logged")
    at_least(20, "GET /me, logged", "PocketBase, logged")


def hallpass(bench, name, settings):
    server = Hallpass(bench.hallpass, bench.folder / f"requests-{name}.db", settings)
    server.start()
    server.add_user("johndoe")
    return server


def session(server, name="johndoe"):
    """An access token that was tried."""
    token = server.log_in(name)["access_token"]
    if ask(server.port, "GET", "/me", token=token)["username"] != name:
        raise Failed("GET /me does not answer whose token it is")
    greeting = f"Hello {name}, you are authorized!"
    if ask(server.port, "GET", "/protected", token=token) != {"message": greeting}:
        raise Failed("GET /protected does not greet")
    return token
