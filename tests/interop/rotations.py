"""Refreshes and verifies with PyJWT's PyJWKClient until standard input closes.

Takes {issuer, username, password, loops, seconds} as one line. Prints the id of each key at its first token, and at
the end what it counted, as JSON.
"""

import json
import sys
import threading
import time
import urllib.request

import jwt

given = json.loads(sys.stdin.readline())
issuer = given["issuer"]
# A key that is not among those of this second is not fetched: the client waits 30 s between such requests.
keys = jwt.PyJWKClient(f"{issuer}/.well-known/jwks.json", lifespan=1)
stop = threading.Event()
lock = threading.Lock()
tokens = {}
count = {"client": "PyJWKClient", "verified": 0, "kids": 0, "failed": 0, "errors": []}


def post(path, body):
    request = urllib.request.Request(issuer + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def verify(token):
    try:
        key = keys.get_signing_key_from_jwt(token)
        jwt.decode(token, key, algorithms=["EdDSA"], issuer=issuer, audience=issuer)
    except jwt.PyJWTError as error:
        with lock:
            count["failed"] += 1
            count["errors"].append(repr(error))
        return
    with lock:
        count["verified"] += 1
        if key.key_id not in tokens:
            tokens[key.key_id] = token
            count["kids"] += 1
            print(key.key_id, flush=True)


def loop():
    try:
        pair = post("/login", {"username": given["username"], "password": given["password"]})
        while not stop.is_set():
            verify(pair["access_token"])
            stop.wait(0.1)
            pair = post("/refresh", {"refresh_token": pair["refresh_token"]})
    except Exception as error:
        with lock:
            count["failed"] += 1
            count["errors"].append(repr(error))


def wait_for_the_end():
    sys.stdin.read()
    stop.set()


loops = [threading.Thread(target=loop, daemon=True) for _ in range(given["loops"])]
threading.Thread(target=wait_for_the_end, daemon=True).start()
for thread in loops:
    thread.start()
stop.wait(given["seconds"])
stop.set()
for thread in loops:
    thread.join(30)
time.sleep(1)  # The keys are fetched again.
for token in list(tokens.values()):
    verify(token)
count["errors"] = count["errors"][:5]
print(json.dumps(count), flush=True)
