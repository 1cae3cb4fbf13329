-- The turns of the keys that sign access tokens: a row each time one takes over. Which one signs follows from the
-- times: the last that has been activated and is not revoked. Rows are added and revoked, never moved: what a key
-- could sign, and until when, stays what it was.
CREATE TABLE signing_keys (
    -- The order of turns that begin in the same second.
    position     INTEGER PRIMARY KEY NOT NULL,
    -- The key. HS256 has the one of its SECRET_KEY, each time it is its turn; any other has one turn.
    kid          TEXT NOT NULL,
    algorithm    TEXT NOT NULL,
    -- The private key, encrypted; none for HS256, whose key is SECRET_KEY itself, and once it was revoked.
    sealed       BLOB,
    created_at   INTEGER NOT NULL,
    activates_at INTEGER NOT NULL,
    -- The longest life of the tokens that it signed in this turn, in seconds.
    longest_ttl  INTEGER NOT NULL,
    revoked_at   INTEGER
) STRICT;

CREATE INDEX signing_keys_by_kid ON signing_keys (kid);
