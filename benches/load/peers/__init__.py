"""The servers that Hallpass is measured beside, each checked once for a right answer."""

import subprocess
import sys
from pathlib import Path

import machine
from servers import PASSWORD, Failed, Server, ask, free_port
from wrk import request

HERE = Path(__file__).parent
TOOLS = Path(sys.executable).parent
EMAIL = "johndoe@example.com"
# The faster loop and parser, and no access log.
FAST = ["--no-access-log", "--log-level", "warning", "--loop", "uvloop", "--http", "httptools"]
# What `pip install fastapi uvicorn` brings.
PLAIN = ["--loop", "asyncio", "--http", "h11"]


def bare(binary, kind):
    """hyper alone, or a poem-openapi route: (server, what to ask)."""
    port = free_port()
    server = Server([binary, kind, f"127.0.0.1:{port}"], port, "/")
    server.start()
    right(ask(port, "GET", "/") == {"status": "ok"}, kind)
    return server, request("GET", "/")


def tutorial(options):
    server = uvicorn("tutorial", {}, "/openapi.json", options)
    token = ask(server.port, "POST", "/login", {"username": "johndoe", "password": PASSWORD})["access_token"]
    answer = ask(server.port, "GET", "/protected", token=token)
    right(answer == {"message": "Hello johndoe, you are authorized!"}, "the FastAPI tutorial")
    return server, request("GET", "/protected", token)


def fastapi_users(folder):
    """(server, what to ask, how to log in)."""
    server = uvicorn("users", {"USERS_DATABASE": str(folder / "fastapi-users.db")}, "/openapi.json", FAST)
    ask(server.port, "POST", "/auth/register", {"email": EMAIL, "password": PASSWORD}, expect=(201,))
    form = f"username={EMAIL.replace('@', '%40')}&password={PASSWORD.replace(' ', '+')}"
    token = ask(server.port, "POST", "/auth/jwt/login", form, form=True)["access_token"]
    right(ask(server.port, "GET", "/users/me", token=token)["email"] == EMAIL, "fastapi-users")
    return server, request("GET", "/users/me", token), request("POST", "/auth/jwt/login", "", form)


def pocketbase(folder, logs=False):
    """(server, what to ask, how to log in)."""
    binary, data = TOOLS / "pocketbase", folder / ("pocketbase-logs" if logs else "pocketbase")
    admin = ("admin@example.com", PASSWORD)
    made = [binary, "superuser", "upsert", *admin, "--dir", data]
    subprocess.run([str(part) for part in made], check=True, capture_output=True)
    port = free_port()
    command = [binary, "serve", f"--http=127.0.0.1:{port}", "--dir", data]
    server = Server(command, port, "/api/health", {"GOMAXPROCS": str(len(machine.SERVING))}, folder)
    server.start()
    login = {"identity": admin[0], "password": admin[1]}
    token = ask(port, "POST", "/api/collections/_superusers/auth-with-password", login)["token"]
    # It writes its log into a database of its own, and keeps it for five days.
    settings = {"rateLimits": {"enabled": False}, "logs": {"maxDays": 5 if logs else 0}}
    ask(port, "PATCH", "/api/settings", settings, token)
    user = {"email": EMAIL, "password": PASSWORD, "passwordConfirm": PASSWORD, "verified": True}
    ask(port, "POST", "/api/collections/users/records", user, token)
    login = {"identity": EMAIL, "password": PASSWORD}
    found = ask(port, "POST", "/api/collections/users/auth-with-password", login)
    path = f"/api/collections/users/records/{found['record']['id']}"
    right(ask(port, "GET", path, token=found["token"])["email"] == EMAIL, "PocketBase")
    body = '{"identity":"%s","password":"%s"}' % (EMAIL, PASSWORD)
    # Without the word Bearer, as its own clients send it.
    view = "\t".join(["GET", path, found["token"], ""])
    return server, view, request("POST", "/api/collections/users/auth-with-password", "", body)


def uvicorn(module, environment, ready, options):
    """One process."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", f"{module}:app", "--port", port, *options]
    server = Server(command, port, ready, environment, HERE)
    server.start()
    return server


def right(is_right, name):
    if not is_right:
        raise Failed(f"{name} does not answer what it should")
