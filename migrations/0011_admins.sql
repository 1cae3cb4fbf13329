-- Whether another admin can log in is asked of the admins alone.
CREATE INDEX users_admins ON users (id) WHERE ' ' || roles || ' ' LIKE '% admin %' AND disabled_at IS NULL;
