-- Which SECRET_KEYs this database was used with: a check value of each, derived with its own label.
CREATE TABLE secrets (
    id          TEXT PRIMARY KEY NOT NULL,
    adopted_at  INTEGER NOT NULL,
    replaced_at INTEGER
) STRICT;

-- One is current.
CREATE UNIQUE INDEX secrets_current ON secrets ((1)) WHERE replaced_at IS NULL;
