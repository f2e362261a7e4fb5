-- What happened to each user, in the order of its versions. `event_id` is the key, so that an event that is
-- delivered again is recorded once. There is no foreign key: an entry outlives its user and holds no
-- personal data, only ids, times and (in `details`, a JSON object) the names of changed fields.
CREATE TABLE user_audit (
    event_id VARCHAR(36) NOT NULL PRIMARY KEY,
    user_id VARCHAR(36) NOT NULL,
    event VARCHAR(128) NOT NULL,
    occurred_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    details LONGTEXT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX user_audit_user ON user_audit (user_id, version, event_id);
