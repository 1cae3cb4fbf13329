-- What was mailed to prove something: a link, and a code of 8 digits beside it. One row of a kind for each account: the
-- newest alone works. A stolen copy opens nothing: of the link there is a hash of 256 random bits, of the code a MAC
-- under a key that is not in here.
CREATE TABLE codes (
    user_id         TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind            TEXT NOT NULL,
    -- Which mail carries it (a row of the outbox, which may be gone), and that mail's place in the order of all.
    mail_id         TEXT NOT NULL UNIQUE,
    position        INTEGER NOT NULL,
    -- The address it was mailed to and is about.
    email_key       TEXT NOT NULL,
    link_hash       BLOB NOT NULL UNIQUE,
    -- None: voided by wrong tries.
    code_hash       BLOB,
    attempts        INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    link_expires_at INTEGER NOT NULL,
    code_expires_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, kind)
) STRICT;

CREATE INDEX codes_by_email ON codes (email_key);
CREATE INDEX codes_by_expiry ON codes (link_expires_at);
