"""What FastAPI's tutorials build: a password in a dict, a signed JWT, a guarded route."""

from datetime import datetime, timedelta, timezone
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

SECRET_KEY = "only for this bench: Kq3vZr8Wt1Yx6Ud0"
USERS = {"johndoe": "seven green lanterns"}

app = FastAPI()
bearer = HTTPBearer()


class Login(BaseModel):
    username: str
    password: str


@app.post("/login")
async def login(login: Login):
    if USERS.get(login.username) != login.password:
        raise HTTPException(401, "Invalid username or password")
    expires = datetime.now(timezone.utc) + timedelta(minutes=30)
    token = jwt.encode({"sub": login.username, "exp": expires}, SECRET_KEY, "HS256")
    return {"access_token": token, "token_type": "bearer"}


async def current_user(credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> str:
    try:
        claims = jwt.decode(credentials.credentials, SECRET_KEY, algorithms=["HS256"])
    except jwt.PyJWTError:
        raise HTTPException(401, "Invalid token")
    if claims.get("sub") not in USERS:
        raise HTTPException(401, "User not found")
    return claims["sub"]


@app.get("/protected")
async def protected(user: Annotated[str, Depends(current_user)]):
    return {"message": f"Hello {user}, you are authorized!"}
