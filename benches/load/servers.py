"""Starts and stops the servers, each on a port of its own and on the serving cores."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import machine
from wrk import Failed

SECRET = "only for this bench: Kq3vZr8Wt1Yx6Ud0"
PASSWORD = "seven green lanterns"


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def ask(port, method, path, body=None, token=None, expect=(200,), form=False):
    """One request on a connection of its own; the answer's JSON."""
    headers = {}
    if token:
        headers["Authorization"] = token if " " in token else f"Bearer {token}"
    if body is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded" if form else "application/json"
        body = body if form else json.dumps(body)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status not in expect:
        raise Failed(f"{method} {path} answered {answer.status}: {text[:300]!r}")
    return json.loads(text) if text else None


class Server:
    """A process that serves."""

    running = []

    def __init__(self, command, port, ready, environment=None, folder=None):
        self.port = port
        self.ready = ready
        self.command = [str(part) for part in command]
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"], **(environment or {})}
        self.process = None

    def start(self):
        """Starts it and waits for an answer. Seconds from just before exec to it."""
        with machine.serving():
            begun = time.perf_counter()
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        Server.running.append(self)
        self.wait(self.ready, begun)
        return time.perf_counter() - begun

    def wait(self, path, begun, patience=60):
        """Asks in a tight loop until the answer is 200."""
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        while time.perf_counter() - begun < patience:
            if self.process.poll() is not None:
                raise Failed(f"{self.command[0]} ended with {self.process.returncode}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                    connection.sendall(head)
                    if connection.recv(16).split()[1:2] == [b"200"]:
                        return
            except OSError:
                pass
        raise Failed(f"{self.command[0]} does not answer {path}")

    def stop(self, how=signal.SIGTERM):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        Server.running.remove(self)

    def cpu(self):
        return machine.cpu_seconds(self.process.pid)

    def memory(self):
        return machine.memory_mib(self.process.pid)


def stop_all():
    for server in list(Server.running):
        server.stop()


class Hallpass(Server):
    """`hallpass serve` with a database of its own."""

    def __init__(self, binary, database, settings=None):
        port = free_port()
        self.binary, self.database = binary, Path(database)
        environment = {
            "SECRET_KEY": SECRET,
            "DATABASE_URL": f"sqlite://{self.database}",
            "PORT": str(port),
            "HASH_THREADS": str(len(machine.SERVING)),
            # Every client here has the same address.
            "RATE_LIMITS": "off",
            "LOG": "off",
            **(settings or {}),
        }
        super().__init__([binary, "serve"], port, "/livez", environment, self.database.parent)

    def add_user(self, name):
        """By the command line."""
        command = [self.binary, "user", "add", name]
        made = subprocess.run(
            command, env=self.environment, cwd=self.folder, input=PASSWORD, text=True, capture_output=True
        )
        if made.returncode != 0:
            raise Failed(f"hallpass user add: {made.stderr}")

    def register(self, count, prefix="user"):
        """Makes accounts and answers their names."""
        names = [f"{prefix}{n:07}" for n in range(count)]
        for name in names:
            ask(self.port, "POST", "/register", {"username": name, "password": PASSWORD}, expect=(201,))
        return names

    def log_in(self, name):
        """A session: `access_token`, `refresh_token`."""
        return ask(self.port, "POST", "/login", {"username": name, "password": PASSWORD})
