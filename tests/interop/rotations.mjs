// Refreshes and verifies with jose's createRemoteJWKSet until standard input closes.
//
// Takes {issuer, username, password, loops, seconds} as one line. Prints the id of each key at its first token, and at
// the end what it counted, as JSON.

import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL("../../examples/express/server.mjs", import.meta.url));
const { createRemoteJWKSet, jwtVerify } = await import(pathToFileURL(require.resolve("jose")));

const lines = createInterface({ input: process.stdin });
const { issuer, username, password, loops, seconds } = JSON.parse((await once(lines, "line"))[0]);
// A key that is not among those of this second is not fetched: the set waits 30 s between such requests.
const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`), { cacheMaxAge: 1000 });
const tokens = new Map();
const count = { client: "createRemoteJWKSet", verified: 0, kids: 0, failed: 0, errors: [] };
let stopped = false;

function failed(error) {
  count.failed += 1;
  count.errors.push(String(error));
}

async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(issuer + path, { method: "POST", headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function verify(token) {
  try {
    const { protectedHeader } = await jwtVerify(token, keys, { algorithms: ["EdDSA"], issuer, audience: issuer });
    count.verified += 1;
    if (tokens.has(protectedHeader.kid)) return;
    tokens.set(protectedHeader.kid, token);
    count.kids += 1;
    console.log(protectedHeader.kid);
  } catch (error) {
    failed(error);
  }
}

async function loop() {
  try {
    let pair = await post("/login", { username, password });
    while (!stopped) {
      await verify(pair.access_token);
      await sleep(100);
      pair = await post("/refresh", { refresh_token: pair.refresh_token });
    }
  } catch (error) {
    failed(error);
  }
}

const running = Array.from({ length: loops }, loop);
await Promise.race([once(lines, "close"), sleep(seconds * 1000)]);
stopped = true;
await Promise.all(running);
await sleep(1000); // The keys are fetched again.
for (const token of [...tokens.values()]) await verify(token);
count.errors = count.errors.slice(0, 5);
console.log(JSON.stringify(count));
process.exit();
