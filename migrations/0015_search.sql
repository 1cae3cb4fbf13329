-- Admins search by the beginning of the address that is shown: the proved one, or else the claim.
DROP INDEX users_by_email;
CREATE INDEX users_by_shown_email ON users (COALESCE(email_key, claimed_email_key), id)
WHERE COALESCE(email_key, claimed_email_key) IS NOT NULL;
