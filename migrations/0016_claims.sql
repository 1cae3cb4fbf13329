-- When somebody who knew the password claimed another address than the one that the account was made with, or that the
-- operator set. None: it is that one. Another password voids the one and leaves the other.
ALTER TABLE users ADD COLUMN claim_changed_at INTEGER;

UPDATE users SET claim_changed_at = claimed_at
WHERE claimed_email_key IS NOT NULL AND 'email_claimed' = (
    SELECT event FROM audit WHERE target = users.id AND event IN ('email_claimed', 'email_set') ORDER BY id DESC LIMIT 1
);

-- The name of an account that is gone: what tells of a change outlives it.
ALTER TABLE outbox ADD COLUMN username TEXT;

-- Whoever sends a mail holds it until next_at, and says so again as long as that takes. When it was taken tells nothing
-- about whether he is still there.
DROP INDEX outbox_sending;
ALTER TABLE outbox DROP COLUMN sending_since;
