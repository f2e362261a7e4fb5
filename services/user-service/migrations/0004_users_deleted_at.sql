-- Finds the deleted users that are due for the purge, and the others in the order of the list.
CREATE INDEX users_deleted_at ON users (deleted_at, id);
