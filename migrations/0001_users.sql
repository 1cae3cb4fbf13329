-- Accounts. Ids are UUIDv7 text, times are unix seconds.
CREATE TABLE users (
    id                TEXT PRIMARY KEY NOT NULL,
    -- As the person writes it (RFC 8265 UsernameCasePreserved), and the form that is compared (UsernameCaseMapped).
    username          TEXT NOT NULL,
    username_key      TEXT NOT NULL UNIQUE,
    email             TEXT,
    email_key         TEXT,
    email_verified_at INTEGER,
    -- PHC string; none: no password logs in.
    password_hash     TEXT,
    -- Space-separated, `user` first.
    roles             TEXT NOT NULL,
    created_at        INTEGER NOT NULL,
    disabled_at       INTEGER,
    last_login_at     INTEGER
) STRICT;

-- An address that nobody has proved reserves nothing; a proved one has one owner.
CREATE UNIQUE INDEX users_verified_email ON users (email_key) WHERE email_verified_at IS NOT NULL;
