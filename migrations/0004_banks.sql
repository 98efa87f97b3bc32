-- Banks: what was asked of one, day and file; the files it leaves for us; the statements in them, entry by entry.

-- made_at: when the bytes were made. execute_on: the day on which they ask the provider to pay.
ALTER TABLE batch ADD COLUMN made_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN execute_on TEXT;
