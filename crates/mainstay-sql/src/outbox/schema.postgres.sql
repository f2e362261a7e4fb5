-- Events that were published in transactions, for another store: `relayed_at` is when that store had taken them, or 0 if
-- they are to go out once more.
CREATE TABLE mainstay_outbox (
    position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id VARCHAR(36) NOT NULL,
    topic VARCHAR(128) NOT NULL,
    envelope TEXT NOT NULL,
    recorded_at BIGINT NOT NULL,
    relayed_at BIGINT
);
CREATE UNIQUE INDEX mainstay_outbox_id ON mainstay_outbox (id);
CREATE INDEX mainstay_outbox_waiting ON mainstay_outbox (relayed_at, topic, position);
-- Who relays: one at a time, so that events keep their order.
CREATE TABLE mainstay_outbox_relay (
    id BIGINT NOT NULL PRIMARY KEY,
    owner VARCHAR(36) NOT NULL,
    until BIGINT NOT NULL
);
INSERT INTO mainstay_outbox_relay (id, owner, until) VALUES (1, '', 0);
-- Whoever records an event holds this row until it commits, so that events are found in the order of positions.
INSERT INTO mainstay_outbox_relay (id, owner, until) VALUES (2, '', 0);
