-- Events that were published and are retained. `position` never repeats; `envelope` is a CloudEvent in JSON.
CREATE TABLE mainstay_events (
    position BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id VARCHAR(36) NOT NULL,
    topic VARCHAR(128) NOT NULL,
    kind VARCHAR(128) NOT NULL,
    subject TEXT,
    envelope LONGTEXT NOT NULL,
    accepted_at BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE UNIQUE INDEX mainstay_events_id ON mainstay_events (id);
CREATE INDEX mainstay_events_topic ON mainstay_events (topic, position);
-- The last position of an event that is no longer retained, and when the youngest was accepted.
CREATE TABLE mainstay_event_trims (
    topic VARCHAR(128) NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL,
    accepted_at BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE mainstay_event_queues (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(700) NOT NULL,
    topic VARCHAR(128) NOT NULL,
    consumers TEXT NOT NULL,
    pattern VARCHAR(130) NOT NULL,
    instance TEXT,
    ordered BIGINT NOT NULL,
    unfinished BIGINT NOT NULL,
    dead_dropped BIGINT NOT NULL,
    fetched_at BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE UNIQUE INDEX mainstay_event_queues_name ON mainstay_event_queues (name);
CREATE INDEX mainstay_event_queues_topic ON mainstay_event_queues (topic);
-- One row for each queue and event that is neither done nor dead. `state`: 0 queued, 1 pending, 2 delayed. `place` is
-- the event's position, or for one that was redriven the last position of then. `subject` only where order counts.
CREATE TABLE mainstay_event_deliveries (
    ticket BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    queue BIGINT NOT NULL,
    position BIGINT NOT NULL,
    place BIGINT NOT NULL,
    subject TEXT,
    state BIGINT NOT NULL,
    due BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    queued_at BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX mainstay_event_deliveries_next ON mainstay_event_deliveries (queue, state, place, ticket);
CREATE INDEX mainstay_event_deliveries_due ON mainstay_event_deliveries (queue, state, due);
CREATE INDEX mainstay_event_deliveries_subject ON mainstay_event_deliveries (queue, subject(191), state);
CREATE INDEX mainstay_event_deliveries_event ON mainstay_event_deliveries (position);
CREATE TABLE mainstay_event_dead (
    ticket BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    queue BIGINT NOT NULL,
    position BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    cause TEXT NOT NULL,
    died_at BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX mainstay_event_dead_queue ON mainstay_event_dead (queue, ticket);
CREATE INDEX mainstay_event_dead_event ON mainstay_event_dead (position);
-- Whoever changes these tables holds this row until it commits, so that events are found in the order of positions.
CREATE TABLE mainstay_event_writer (id BIGINT NOT NULL PRIMARY KEY);
INSERT INTO mainstay_event_writer (id) VALUES (1);
