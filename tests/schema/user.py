"""A user whose session lasts: whoever ends it does so with one of its own.

Without this, the first call of an operation that ends sessions would leave nothing but 401 to see.
"""

import os
import uuid

import requests
import schemathesis
import seen  # noqa: F401

if os.environ.get("SCHEMA_FITTING"):
    import hooks  # noqa: F401

URL = os.environ["SCHEMA_URL"]
ENDING = {"POST /logout", "POST /me/delete", "POST /password/change", "DELETE /sessions", "DELETE /sessions/{id}"}


def session():
    """The access token of a new account."""
    account = {"username": f"person-{uuid.uuid4().hex[:12]}", "password": "demo-password-only"}
    requests.post(f"{URL}/register", json=account, timeout=10).raise_for_status()
    answer = requests.post(f"{URL}/login", json=account, timeout=10)
    answer.raise_for_status()
    return answer.json()["access_token"]


@schemathesis.auth(refresh_interval=None)
class User:
    lasting = None

    def get(self, _case, context):
        if context.operation.label in ENDING:
            return session()
        User.lasting = User.lasting or session()
        return User.lasting

    def set(self, case, data, _context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}
