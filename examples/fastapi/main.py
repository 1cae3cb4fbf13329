"""A FastAPI service that accepts Hallpass's access tokens, and asks Hallpass nothing about a single request.

    ISSUER=https://auth.example.com uvicorn main:app

It verifies with Hallpass's public keys and refuses what the revocation list names. Without a fresh list it answers 503.
"""

import json
import logging
import math
import os
import threading
import time
from base64 import urlsafe_b64encode
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated
from urllib.parse import urlencode
from urllib.request import urlopen

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

ISSUER = os.environ.get("ISSUER", "http://127.0.0.1:8000")  # Hallpass's PUBLIC_URL
AUDIENCE = os.environ.get("AUDIENCE", ISSUER)
SECRET_KEY = os.environ.get("SECRET_KEY")
STALE_SECONDS = float(os.environ.get("STALE_SECONDS", "30"))  # how old the list may be
POLL_SECONDS = 2
LONGEST_LIFE = timedelta(days=1)  # of an access token: older entries name none that has not expired

if SECRET_KEY:  # Hallpass signs with HS256. Whoever holds this key can also make tokens
    ALGORITHMS, key_of = ["HS256"], lambda token: SECRET_KEY
else:
    jwks = jwt.PyJWKClient(f"{ISSUER}/.well-known/jwks.json", lifespan=300, timeout=5)
    ALGORITHMS, key_of = ["EdDSA", "ES256"], jwks.get_signing_key_from_jwt


class Revocations:
    """What ended, as Hallpass last told it."""

    def __init__(self) -> None:
        self.sessions: dict[str, datetime] = {}
        self.subjects: dict[str, datetime] = {}
        self.as_of: str | None = None
        self.asked_at = -math.inf

    def follow(self) -> None:
        while True:
            try:
                self.fetch()
            except Exception as error:  # whatever it is, the list grows stale
                logging.warning("no revocation list: %s", error)
            time.sleep(POLL_SECONDS)

    def fetch(self) -> None:
        asked_at = time.monotonic()
        query = "?" + urlencode({"since": self.as_of}) if self.as_of else ""
        with urlopen(f"{ISSUER}/.well-known/revocations{query}", timeout=5) as answer:
            news = json.load(answer)
        oldest = time_of(news["as_of"]) - LONGEST_LIFE
        sessions = self.sessions | {new["sid_hash"]: time_of(new["ended_at"]) for new in news["sessions"]}
        subjects = self.subjects | {new["sub_hash"]: time_of(new["not_before"]) for new in news["subjects"]}
        self.sessions = {digest: at for digest, at in sessions.items() if at >= oldest}
        self.subjects = {digest: at for digest, at in subjects.items() if at >= oldest}
        self.as_of, self.asked_at = news["as_of"], asked_at

    def are_fresh(self) -> bool:
        return time.monotonic() - self.asked_at <= STALE_SECONDS

    def name(self, claims: dict) -> bool:
        not_before = self.subjects.get(digest_of(claims["sub"]))
        is_cut_off = not_before is not None and claims["iat"] < not_before.timestamp()
        return is_cut_off or digest_of(claims["sid"]) in self.sessions


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)  # with a Z: Python 3.11


def digest_of(text: str) -> str:
    return urlsafe_b64encode(sha256(text.encode()).digest()).decode()[:22]


@asynccontextmanager
async def lifespan(_: FastAPI):
    threading.Thread(target=revocations.follow, daemon=True).start()
    yield


revocations = Revocations()
app = FastAPI(lifespan=lifespan)
bearer = HTTPBearer()


def caller(credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> dict:
    token = credentials.credentials
    if not revocations.are_fresh():
        raise HTTPException(503, "Tokens cannot be judged now")
    try:
        if jwt.get_unverified_header(token).get("typ") != "at+jwt":
            raise jwt.InvalidTokenError("not an access token")
        claims = jwt.decode(
            token,
            key_of(token),
            algorithms=ALGORITHMS,  # never the one that the token names
            issuer=ISSUER,
            audience=AUDIENCE,
            # Hallpass's clock may be a little ahead of ours, so no token is refused for its iat.
            options={"require": ["exp", "iat", "sub", "sid"], "verify_iat": False},
        )
        if revocations.name(claims):
            raise jwt.InvalidTokenError("revoked")
        return claims
    except jwt.PyJWKClientConnectionError:
        raise HTTPException(503, "Tokens cannot be judged now")
    except jwt.PyJWTError:
        raise HTTPException(401, "Invalid token", {"WWW-Authenticate": 'Bearer error="invalid_token"'})


@app.get("/hello")
def hello(claims: Annotated[dict, Depends(caller)]) -> dict:
    return {"message": f"Hello {claims['preferred_username']}", "sub": claims["sub"], "roles": claims["roles"]}
