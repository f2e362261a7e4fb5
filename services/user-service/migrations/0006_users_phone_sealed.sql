-- A phone number is kept sealed, bound to its user, with a keyed digest to look it up by. What `phone` still holds is
-- from before; the service seals it while it runs.
ALTER TABLE users ADD COLUMN phone_sealed VARCHAR(512);
ALTER TABLE users ADD COLUMN phone_index VARCHAR(64);
CREATE INDEX users_phone_index ON users (phone_index);
