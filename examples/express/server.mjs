// An Express service that accepts Hallpass's access tokens, and asks Hallpass nothing about a single request.
//
//     ISSUER=https://auth.example.com node server.mjs
//
// It verifies with Hallpass's public keys and refuses what the revocation list names. Without a fresh list it
// answers 503.

import { createHash } from "node:crypto";
import express from "express";
import { createRemoteJWKSet, errors, jwtVerify } from "jose";

const issuer = process.env.ISSUER ?? "http://127.0.0.1:8000"; // Hallpass's PUBLIC_URL
const audience = process.env.AUDIENCE ?? issuer;
const secret = process.env.SECRET_KEY;
const staleAfter = Number(process.env.STALE_SECONDS ?? 30) * 1000; // how old the list may be
const pollEvery = 2_000;
const longestLife = 24 * 60 * 60 * 1000; // of an access token: older entries name none that has not expired

const [key, algorithms] = secret
  ? [new TextEncoder().encode(secret), ["HS256"]] // whoever holds this key can also make tokens
  : [createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`), { cacheMaxAge: 300_000 }), ["EdDSA", "ES256"]];
const options = { algorithms, typ: "at+jwt", issuer, audience, requiredClaims: ["exp", "iat", "sub", "sid"] };

// What ended, as Hallpass last told it.
const sessions = new Map();
const subjects = new Map();
let asOf;
let askedAt = -Infinity;

async function fetchRevocations() {
  const now = performance.now();
  const url = new URL(`${issuer}/.well-known/revocations`);
  if (asOf) url.searchParams.set("since", asOf);
  const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
  if (!response.ok) throw new Error(`status ${response.status}`);
  const news = await response.json();
  for (const { sid_hash, ended_at } of news.sessions) sessions.set(sid_hash, Date.parse(ended_at));
  for (const { sub_hash, not_before } of news.subjects) subjects.set(sub_hash, Date.parse(not_before));
  for (const entries of [sessions, subjects]) {
    for (const [digest, at] of entries) if (at < Date.parse(news.as_of) - longestLife) entries.delete(digest);
  }
  [asOf, askedAt] = [news.as_of, now];
}

async function follow() {
  // Whatever the error is, the list grows stale.
  await fetchRevocations().catch((error) => console.warn("no revocation list:", error.message));
  setTimeout(follow, pollEvery);
}

const isFresh = () => performance.now() - askedAt <= staleAfter;
const digestOf = (text) => createHash("sha256").update(text).digest("base64url").slice(0, 22);
const isRevoked = ({ sid, sub, iat }) => sessions.has(digestOf(sid)) || iat * 1000 < subjects.get(digestOf(sub));

// Or else the keys could not be fetched.
const isRefusal = (error) =>
  error instanceof errors.JOSEError && !["ERR_JOSE_GENERIC", "ERR_JWKS_TIMEOUT"].includes(error.code);

async function caller(request, response, next) {
  const [scheme, token] = (request.get("authorization") ?? "").split(" ");
  const refuse = () =>
    response.status(401).set("WWW-Authenticate", 'Bearer error="invalid_token"').json({ detail: "Invalid token" });
  const cannotJudge = () => response.status(503).json({ detail: "Tokens cannot be judged now" });
  if (scheme.toLowerCase() !== "bearer") return refuse();
  if (!isFresh()) return cannotJudge();
  try {
    request.claims = (await jwtVerify(token, key, options)).payload;
  } catch (error) {
    return isRefusal(error) ? refuse() : cannotJudge();
  }
  if (isRevoked(request.claims)) return refuse();
  next();
}

const app = express();
app.get("/hello", caller, ({ claims }, response) => {
  response.json({ message: `Hello ${claims.preferred_username}`, sub: claims.sub, roles: claims.roles });
});
follow();
app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1");
