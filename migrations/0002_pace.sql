-- The pace of each provider, shared by all workers of all processes; and what a restore from a backup leaves to ask.

-- next_slot_at: when the next payment may be written. failures: in a row. closed_until: nothing begins before.
CREATE TABLE pace (
    provider TEXT NOT NULL PRIMARY KEY,
    next_slot_at BIGINT NOT NULL DEFAULT 0,
    failures BIGINT NOT NULL DEFAULT 0,
    closed_until BIGINT NOT NULL DEFAULT 0
);

-- What is due is looked for provider by provider, doubts before the rest, and live leases are counted.
DROP INDEX batch_due;
CREATE INDEX batch_due ON batch (provider, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX batch_doubtful ON batch (provider, first_copy_at) WHERE state IN ('transmitting', 'in_doubt');
CREATE INDEX batch_leased ON batch (provider, lease_until) WHERE lease_until > 0;

-- Since when a sealed batch waits for its provider to be asked whether it left in a time this database lost.
ALTER TABLE batch ADD COLUMN ask_first_at BIGINT;

-- How often the database was put back, and which server of which history it was last opened on.
ALTER TABLE installation ADD COLUMN restores BIGINT NOT NULL DEFAULT 0;
ALTER TABLE installation ADD COLUMN server TEXT;
