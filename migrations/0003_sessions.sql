-- Sessions: one row each, however many tokens it has had. A stolen copy holds no usable token: a refresh token is
-- a MAC under a key that is not in here.
CREATE TABLE sessions (
    id                 TEXT PRIMARY KEY NOT NULL,
    user_id            TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- Random bytes that the MAC covers.
    salt               BLOB NOT NULL,
    -- Of the current refresh token; counted up at each rotation.
    generation         INTEGER NOT NULL,
    rotated_at         INTEGER NOT NULL,
    -- Since when it is known that somebody holds the tokens of this generation.
    successor_used_at  INTEGER,
    -- Which SECRET_KEY made the current refresh token.
    secret_id          TEXT NOT NULL,
    created_at         INTEGER NOT NULL,
    last_used_at       INTEGER NOT NULL,
    -- When it ends if it is not refreshed; never after expires_at.
    refresh_expires_at INTEGER NOT NULL,
    -- When it ends in any case.
    expires_at         INTEGER NOT NULL,
    ended_at           INTEGER,
    ip                 TEXT NOT NULL,
    user_agent         TEXT
) STRICT;

CREATE INDEX sessions_of_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (refresh_expires_at);
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;
