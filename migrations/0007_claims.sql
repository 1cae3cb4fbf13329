-- The address that an account says it has, until that is proved. A claim reserves nothing: several may claim one address,
-- the first that proves it has it. From here on, email, email_key and email_verified_at hold a proved address alone.
ALTER TABLE users ADD COLUMN claimed_email TEXT;
ALTER TABLE users ADD COLUMN claimed_email_key TEXT;
-- Of two claims to one address, the later has the later time, also within a second.
ALTER TABLE users ADD COLUMN claimed_at INTEGER;

UPDATE users
SET claimed_email = email, claimed_email_key = email_key, claimed_at = created_at, email = NULL, email_key = NULL
WHERE email_verified_at IS NULL AND email_key IS NOT NULL;

CREATE INDEX users_by_claim ON users (claimed_email_key, claimed_at);
