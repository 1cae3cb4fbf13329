"""Fills a database that Hallpass made with accounts and sessions, by SQL."""

import sqlite3
import time

DAY = 24 * 60 * 60

# UUIDv7 of a millisecond, as text. `ms` is a column: written twice, random() would be called twice.
ID = """printf('%08x-%04x-7%03x-%04x-%012x', ms >> 16, ms & 65535, random() & 4095, 32768 | (random() & 16383),
               random() & 281474976710655)"""

# All have the password of the first account. In the order of their ids, as time would have it.
USERS = f"""
WITH RECURSIVE
  numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :count),
  moments AS MATERIALIZED (SELECT n, 1000 * (:now - abs(random()) % (365 * {DAY})) AS ms FROM numbers),
  first AS MATERIALIZED (SELECT password_hash, roles FROM users LIMIT 1)
INSERT INTO users (id, username, username_key, password_hash, roles, created_at)
SELECT {ID} AS id, printf('user%07d', n), printf('user%07d', n), password_hash, roles, ms / 1000
FROM moments, first ORDER BY id
"""

# Ids of the seconds in which the real sessions were opened, so that those stand everywhere among them; the times that
# Hallpass looks at are of the last two weeks.
SESSIONS = f"""
WITH
  owners AS (SELECT id FROM users WHERE username <> :first AND id NOT IN (SELECT user_id FROM sessions)),
  moments AS MATERIALIZED (SELECT id AS user_id, 1000 * (:since + abs(random()) % :span) AS ms,
                                  :now - {DAY} - abs(random()) % (12 * {DAY}) AS at FROM owners),
  sample AS MATERIALIZED (SELECT length(salt) AS salt_length, secret_id, ip, user_agent FROM sessions LIMIT 1)
INSERT INTO sessions (id, user_id, salt, generation, rotated_at, secret_id, created_at, last_used_at,
                      refresh_expires_at, expires_at, ip, user_agent)
SELECT {ID} AS id, user_id, randomblob(salt_length), 0, at, secret_id, at, at, at + 14 * {DAY}, at + 30 * {DAY}, ip,
       user_agent
FROM moments, sample ORDER BY id
"""


def add_users(path, count):
    with opened(path) as database:
        database.execute(USERS, {"count": count, "now": int(time.time())})


def add_sessions(path, first):
    """One for each account that has none, but for the first. How many sessions there are then."""
    with opened(path) as database:
        since, until = database.execute("SELECT MIN(created_at), MAX(created_at) FROM sessions").fetchone()
        values = {"first": first, "since": since, "span": until - since + 1, "now": int(time.time())}
        database.execute(SESSIONS, values)
        return database.execute("SELECT COUNT(*) FROM sessions").fetchone()[0]


class opened:
    """A connection in a transaction; afterwards, all is in the database file."""

    def __init__(self, path):
        self.database = sqlite3.connect(path)
        self.database.execute("PRAGMA synchronous = OFF")
        self.database.execute("PRAGMA cache_size = -500000")

    def __enter__(self):
        return self.database

    def __exit__(self, kind, *_):
        if kind is None:
            self.database.commit()
            self.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.database.close()
