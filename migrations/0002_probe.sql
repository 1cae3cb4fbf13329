-- One row that readiness checks write: a transaction that changes nothing does not touch the disk.
CREATE TABLE probe (
    writes INTEGER NOT NULL
) STRICT;

INSERT INTO probe (writes) VALUES (0);
