-- Digests are 64 hexadecimal digits. A subject is looked for by its digest: not every database compares text byte by
-- byte.
CREATE TABLE auth_sessions (
    family VARCHAR(64) NOT NULL PRIMARY KEY,
    id VARCHAR(64) NOT NULL,
    subject VARCHAR(256) NOT NULL,
    subject_digest VARCHAR(64) NOT NULL,
    about VARCHAR(256) NOT NULL,
    token VARCHAR(64) NOT NULL,
    previous VARCHAR(64),
    opened_at BIGINT NOT NULL,
    used_at BIGINT NOT NULL,
    rotated_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE UNIQUE INDEX auth_sessions_id ON auth_sessions (id);
CREATE INDEX auth_sessions_subject ON auth_sessions (subject_digest, used_at);
