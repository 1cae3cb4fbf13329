"""A FastAPI service that accepts Hallpass's access tokens (HS256).

    SECRET_KEY=… uvicorn main:app

Whoever holds SECRET_KEY can also make tokens: give it to services that you trust as you trust Hallpass.
"""

import os
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

SECRET_KEY = os.environ["SECRET_KEY"]
ISSUER = os.environ.get("ISSUER", "http://127.0.0.1:8000")  # Hallpass's PUBLIC_URL
AUDIENCE = os.environ.get("AUDIENCE", ISSUER)

app = FastAPI()
bearer = HTTPBearer()


def caller(credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> dict:
    token = credentials.credentials
    try:
        if jwt.get_unverified_header(token).get("typ") != "at+jwt":
            raise jwt.InvalidTokenError("not an access token")
        return jwt.decode(
            token,
            SECRET_KEY,
            algorithms=["HS256"],  # never the one that the token names
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": ["exp", "iat", "sub", "sid"]},
        )
    except jwt.InvalidTokenError:
        raise HTTPException(401, "Invalid token", {"WWW-Authenticate": 'Bearer error="invalid_token"'})


@app.get("/hello")
def hello(claims: Annotated[dict, Depends(caller)]) -> dict:
    return {"message": f"Hello {claims['preferred_username']}", "sub": claims["sub"], "roles": claims["roles"]}
