-- What was changed, by whom. A row is written with its change or not at all, and no name or other personal text stands
-- in it: ids, which lead to nobody once an account is deleted, and an address. No references to users: rows stay.
CREATE TABLE audit (
    id         INTEGER PRIMARY KEY NOT NULL,
    at         INTEGER NOT NULL,
    -- As in the log.
    event      TEXT NOT NULL,
    -- The account that did it. None: the command line, the server by itself, or with an address, somebody.
    actor      TEXT,
    -- What it was done to: the id of an account, or of a key.
    target     TEXT,
    address    TEXT,
    request_id TEXT,
    -- `done`, or why it was not.
    outcome    TEXT NOT NULL,
    -- How many: sessions that ended, refusals that the row stands for.
    count      INTEGER NOT NULL,
    -- The id of a session, or the roles.
    detail     TEXT
) STRICT;

CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_of_target ON audit (target, id) WHERE target IS NOT NULL;
CREATE INDEX audit_of_event ON audit (event, id);
