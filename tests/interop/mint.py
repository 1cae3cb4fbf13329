"""Reads {key, header, claims} and prints a token that PyJWT signs: an outsider that holds the key."""

import json
import sys

import jwt

wanted = json.load(sys.stdin)
print(jwt.encode(wanted["claims"], wanted["key"], algorithm="HS256", headers=wanted["header"]), end="")
