"""An admin who logs in for each request, since one of the operations ends the sessions of whomever it is told."""

import os

import requests
import schemathesis
import seen  # noqa: F401

if os.environ.get("SCHEMA_FITTING"):
    import hooks  # noqa: F401

URL = os.environ["SCHEMA_URL"]
ALICE = {"username": "alice", "password": "demo-password-only"}


@schemathesis.auth(refresh_interval=None)
class Admin:
    def get(self, _case, _context):
        answer = requests.post(f"{URL}/login", json=ALICE, timeout=10)
        answer.raise_for_status()
        return answer.json()["access_token"]

    def set(self, case, data, _context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}
