-- Which events each group has handled.
CREATE TABLE mainstay_inbox (
    consumers VARCHAR(128) NOT NULL,
    event_id VARCHAR(36) NOT NULL,
    handled_at BIGINT NOT NULL,
    PRIMARY KEY (consumers, event_id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX mainstay_inbox_handled_at ON mainstay_inbox (handled_at);
