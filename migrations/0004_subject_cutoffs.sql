-- For services that verify offline: tokens of this subject issued before this second are void. No reference to
-- users: a deleted account's tokens live on elsewhere.
CREATE TABLE subject_cutoffs (
    user_id    TEXT PRIMARY KEY NOT NULL,
    not_before INTEGER NOT NULL
) STRICT;

CREATE INDEX subject_cutoffs_by_time ON subject_cutoffs (not_before);
