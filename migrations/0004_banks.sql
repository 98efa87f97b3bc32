-- Banks: what was asked of one, day and file; the files it leaves for us; the statements in them, entry by entry.

-- made_at: when the bytes were made, and how many. execute_on: the day on which they ask the provider to pay.
ALTER TABLE batch ADD COLUMN made_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN wire_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN execute_on TEXT;

-- Where a provider leaves files for us, and when we look there next.
CREATE TABLE mailbox (
    number {{NUMBER_KEY}},
    provider TEXT NOT NULL UNIQUE,
    due_at BIGINT,
    nudged_at BIGINT NOT NULL DEFAULT 0,
    lease_until BIGINT NOT NULL DEFAULT 0,
    epoch BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0,
    collected_at BIGINT,
    problem TEXT
);

-- A file as it came. 'arriving' until all its parts are here; the same bytes are taken once.
CREATE TABLE file (
    number {{NUMBER_KEY}},
    provider TEXT NOT NULL,
    name TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    sha256 BYTEA NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('arriving', 'stored', 'read', 'unreadable')),
    kind TEXT,
    problem TEXT,
    at BIGINT NOT NULL,
    read_at BIGINT,
    UNIQUE (provider, sha256)
);
CREATE INDEX file_stored ON file (provider, number) WHERE state IN ('arriving', 'stored');

-- Under which name, size and time a file was listed where it lay.
CREATE TABLE file_listing (
    provider TEXT NOT NULL,
    folder TEXT NOT NULL,
    name TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    modified BIGINT NOT NULL,
    file BIGINT NOT NULL,
    PRIMARY KEY (provider, folder, name, bytes, modified)
);

CREATE TABLE file_part (
    file BIGINT NOT NULL,
    position BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (file, position)
);

-- standing: 'reading' while its entries arrive, 'counted' once they may be matched; a 'repeat' of one that is known,
-- one that is 'refused' because it does not add up, and one that a later one 'overruled', do not count. Balances are minor units, null where unstated.
CREATE TABLE statement (
    number {{NUMBER_KEY}},
    file BIGINT NOT NULL REFERENCES file (number),
    provider TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('statement', 'interim', 'notice')),
    id TEXT NOT NULL,
    account TEXT NOT NULL,
    currency TEXT,
    sequence BIGINT,
    page BIGINT NOT NULL,
    first_day TEXT,
    last_day TEXT,
    opening_minor BIGINT,
    closing_minor BIGINT,
    entries BIGINT NOT NULL DEFAULT 0,
    faults BIGINT NOT NULL DEFAULT 0,
    debits_minor BIGINT NOT NULL DEFAULT 0,
    credits_minor BIGINT NOT NULL DEFAULT 0,
    proof TEXT,
    standing TEXT NOT NULL CHECK (standing IN ('reading', 'counted', 'repeat', 'refused', 'overruled')),
    first_disbursement BIGINT,
    last_disbursement BIGINT,
    named BIGINT NOT NULL DEFAULT 0,
    matched_at BIGINT,
    at BIGINT NOT NULL
);
CREATE INDEX statement_by_account ON statement (provider, account, sequence);
CREATE INDEX statement_by_file ON statement (file);

-- One movement, or one payment of a movement. verdict tells only of what departs from the common case: once its
-- statement is matched, an entry that names a disbursement and has none books that disbursement as it was ordered.
CREATE TABLE entry (
    number {{NUMBER_KEY}},
    statement BIGINT NOT NULL,
    position BIGINT NOT NULL,
    detail BIGINT NOT NULL,
    direction TEXT NOT NULL,
    kind TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    payments BIGINT NOT NULL,
    booked_on TEXT,
    disbursement BIGINT,
    batch BIGINT,
    verdict TEXT,
    sealed BYTEA NOT NULL
);
CREATE INDEX entry_by_disbursement ON entry (disbursement, statement) WHERE disbursement IS NOT NULL;
CREATE INDEX entry_unnamed ON entry (statement, number) WHERE disbursement IS NULL;
CREATE INDEX entry_departed ON entry (statement, verdict) WHERE verdict IS NOT NULL;

-- What one statement books of one batch.
CREATE TABLE booking (
    batch BIGINT NOT NULL,
    statement BIGINT NOT NULL,
    debits BIGINT NOT NULL,
    debits_minor BIGINT NOT NULL,
    credits BIGINT NOT NULL,
    credits_minor BIGINT NOT NULL,
    PRIMARY KEY (batch, statement)
);
