-- What is to be mailed. No token and no code stands in here: they are made from the row's id and a key that is not in the
-- database, so that each try carries the same.
CREATE TABLE outbox (
    -- The order in which it was asked for. Never given twice.
    position      INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    id            TEXT NOT NULL UNIQUE,
    kind          TEXT NOT NULL,
    -- None: whoever has, or claims, the address; found out when it is sent.
    user_id       TEXT REFERENCES users (id) ON DELETE CASCADE,
    email         TEXT NOT NULL,
    email_key     TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    -- When it is worth nothing any more.
    expires_at    INTEGER NOT NULL,
    attempts      INTEGER NOT NULL,
    next_at       INTEGER NOT NULL,
    -- Somebody is sending it. After a crash nobody is, and it is sent again.
    sending_since INTEGER,
    -- When its link and code were made. If they are not there any more, they are void, and not made again.
    issued_at     INTEGER
) STRICT;

CREATE INDEX outbox_by_turn ON outbox (next_at);
CREATE INDEX outbox_of_user ON outbox (user_id);
CREATE INDEX outbox_by_email ON outbox (email_key);
CREATE INDEX outbox_by_expiry ON outbox (expires_at);
CREATE INDEX outbox_sending ON outbox (sending_since) WHERE sending_since IS NOT NULL;
