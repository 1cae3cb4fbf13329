-- Admins search by the beginning of an address, proved or not.
CREATE INDEX users_by_email ON users (email_key, id) WHERE email_key IS NOT NULL;
