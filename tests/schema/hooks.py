"""Names and passwords that are accepted.

What a schema can say of them describes many that RFC 8265 or the list of common passwords refuses, so that generated
accounts seldom came to be, and nothing was left to follow from one operation to the next.
"""

import uuid

import schemathesis

FITTING = {
    "username": lambda: f"person-{uuid.uuid4().hex[:12]}",
    "password": lambda: "demo-password-only",
    "current_password": lambda: "demo-password-only",
    "new_password": lambda: "demo-password-only",
    "email": lambda: f"person-{uuid.uuid4().hex[:12]}@example.com",
}


@schemathesis.hook
def map_body(_context, body):
    if not isinstance(body, dict):
        return body
    return {name: FITTING[name]() if name in FITTING and isinstance(value, str) else value for name, value in body.items()}
