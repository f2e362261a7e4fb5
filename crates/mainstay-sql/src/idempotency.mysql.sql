-- Text is compared byte by byte, as on the other databases.
CREATE TABLE idempotency_keys (
    scope VARCHAR(255) NOT NULL,
    idempotency_key VARCHAR(128) NOT NULL,
    fingerprint LONGTEXT NOT NULL,
    status BIGINT,
    headers LONGTEXT,
    body LONGBLOB,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (scope, idempotency_key)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
