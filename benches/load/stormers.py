"""What watches a storm from beside it: a prober that times refusals, and one that samples memory."""

import http.client
import json
import random
import threading
import time

from servers import PASSWORD


class Watcher:
    """Threads that do something over and over while the `with` lasts."""

    def __init__(self, threads):
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.watch, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join(10)


class Memory(Watcher):
    """The most that a server had resident, in MiB."""

    def __init__(self, server):
        super().__init__(1)
        self.server, self.most = server, 0

    def watch(self):
        while not self.ended.wait(0.2):
            self.most = max(self.most, self.server.memory())


class Prober(Watcher):
    """Logs in now and then, and times the answers that are 503: wrk does not time them apart."""

    def __init__(self, port, names):
        super().__init__(8)
        self.port, self.names = port, names
        self.refused_ms, self.statuses = [], []

    def watch(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self.ended.wait(random.uniform(0.05, 0.15)):
            body = json.dumps({"username": random.choice(self.names), "password": PASSWORD})
            begun = time.perf_counter()
            try:
                connection.request("POST", "/login", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                # A connection ends after five minutes.
                connection.close()
                continue
            if answer.status == 503:
                self.refused_ms.append(1000 * (time.perf_counter() - begun))
            self.statuses.append(str(answer.status))
