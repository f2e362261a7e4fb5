-- As for the others, with text that is compared byte by byte as they do. Portable: VARCHAR, TEXT, BIGINT only. Times are microseconds since the epoch, ids UUIDv7 as text.
-- `email_key` is what must be unique: the address in lower case, or `deleted:<id>` after a soft delete.
CREATE TABLE users (
    id VARCHAR(36) NOT NULL PRIMARY KEY,
    email VARCHAR(254) NOT NULL,
    email_key VARCHAR(254) NOT NULL,
    name VARCHAR(200) NOT NULL,
    phone VARCHAR(16),
    role VARCHAR(32) NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    version BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE UNIQUE INDEX users_email_key ON users (email_key);
