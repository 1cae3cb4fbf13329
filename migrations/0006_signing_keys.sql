-- The keys that sign access tokens, or did. Which one signs follows from the times: the last that has been
-- activated and is not revoked.
CREATE TABLE signing_keys (
    kid          TEXT PRIMARY KEY NOT NULL,
    algorithm    TEXT NOT NULL,
    -- The private key, encrypted; none for HS256, whose key is SECRET_KEY itself, and once it was revoked.
    sealed       BLOB,
    created_at   INTEGER NOT NULL,
    activates_at INTEGER NOT NULL,
    -- The order of keys that are activated in the same second.
    position     INTEGER NOT NULL,
    -- The longest life of the tokens that it signed, in seconds.
    longest_ttl  INTEGER NOT NULL,
    revoked_at   INTEGER
) STRICT;
