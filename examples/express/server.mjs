// An Express service that accepts Hallpass's access tokens (HS256).
//
//     SECRET_KEY=… node server.mjs
//
// Whoever holds SECRET_KEY can also make tokens: give it to services that you trust as you trust Hallpass.

import express from "express";
import { jwtVerify } from "jose";

const key = new TextEncoder().encode(process.env.SECRET_KEY);
const issuer = process.env.ISSUER ?? "http://127.0.0.1:8000"; // Hallpass's PUBLIC_URL
const audience = process.env.AUDIENCE ?? issuer;
const options = { algorithms: ["HS256"], typ: "at+jwt", issuer, audience, requiredClaims: ["exp", "iat", "sub", "sid"] };

async function caller(request, response, next) {
  const [scheme, token] = (request.get("authorization") ?? "").split(" ");
  try {
    if (scheme.toLowerCase() !== "bearer") throw new Error("no bearer token");
    request.claims = (await jwtVerify(token, key, options)).payload;
  } catch {
    return response.status(401).set("WWW-Authenticate", 'Bearer error="invalid_token"').json({ detail: "Invalid token" });
  }
  next();
}

const app = express();
app.get("/hello", caller, ({ claims }, response) => {
  response.json({ message: `Hello ${claims.preferred_username}`, sub: claims.sub, roles: claims.roles });
});
app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1");
