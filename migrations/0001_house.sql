-- The house. One text for both engines; the two words in double braces are the only difference:
-- NUMBER_KEY is a BIGINT primary key, HOT leaves room on a page for updates of rows that are written twice.
-- Rules of the tables and indexes: README.md beside this file.

CREATE TABLE installation (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    tag BIGINT NOT NULL,
    index_key BYTEA NOT NULL,
    next_number BIGINT NOT NULL
);

CREATE TABLE tenant (
    number {{NUMBER_KEY}},
    code TEXT NOT NULL UNIQUE
);

CREATE TABLE programme (
    number {{NUMBER_KEY}},
    tenant BIGINT NOT NULL REFERENCES tenant (number),
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    currency TEXT NOT NULL,
    intake_mode TEXT NOT NULL CHECK (intake_mode IN ('eject', 'all_or_nothing')),
    amount_minor_max BIGINT,
    shared_account_max BIGINT,
    UNIQUE (tenant, code)
);

CREATE TABLE cycle (
    number {{NUMBER_KEY}},
    programme BIGINT NOT NULL REFERENCES programme (number),
    code TEXT NOT NULL,
    first_day TEXT NOT NULL,
    last_day TEXT NOT NULL,
    CHECK (first_day <= last_day),
    UNIQUE (programme, code)
);

-- What a programme may still spend. Every change is one guarded update beside its ledger entry.
CREATE TABLE funding_account (
    programme BIGINT NOT NULL PRIMARY KEY REFERENCES programme (number),
    currency TEXT NOT NULL,
    available_minor BIGINT NOT NULL CHECK (available_minor >= 0)
);

-- A beneficiary who is not to be paid for now: rows of later payrolls are held at intake.
CREATE TABLE beneficiary_hold (
    programme BIGINT NOT NULL REFERENCES programme (number),
    beneficiary_hash BYTEA NOT NULL,
    reason TEXT NOT NULL,
    placed_by TEXT NOT NULL,
    placed_at BIGINT NOT NULL,
    PRIMARY KEY (programme, beneficiary_hash)
);

CREATE TABLE token (
    number {{NUMBER_KEY}},
    tenant BIGINT NOT NULL REFERENCES tenant (number),
    person TEXT NOT NULL,
    role TEXT NOT NULL,
    hash BYTEA NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);

CREATE TABLE idempotency (
    tenant BIGINT NOT NULL REFERENCES tenant (number),
    key TEXT NOT NULL,
    request_hash BYTEA NOT NULL,
    payroll BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, key)
);

CREATE TABLE payroll (
    number {{NUMBER_KEY}},
    tenant BIGINT NOT NULL REFERENCES tenant (number),
    programme BIGINT NOT NULL REFERENCES programme (number),
    cycle BIGINT NOT NULL REFERENCES cycle (number),
    currency TEXT NOT NULL,
    state TEXT NOT NULL,
    file_hash BYTEA NOT NULL,
    content_hash BYTEA,
    pay_on TEXT,
    declared_rows BIGINT NOT NULL,
    declared_minor BIGINT NOT NULL,
    file_rows BIGINT NOT NULL DEFAULT 0,
    file_minor BIGINT NOT NULL DEFAULT 0,
    refused_rows BIGINT NOT NULL DEFAULT 0,
    refused_minor BIGINT NOT NULL DEFAULT 0,
    accepted_rows BIGINT NOT NULL DEFAULT 0,
    accepted_minor BIGINT NOT NULL DEFAULT 0,
    first_number BIGINT NOT NULL DEFAULT 0,
    last_number BIGINT NOT NULL DEFAULT 0,
    refusal TEXT,
    made_by TEXT NOT NULL,
    submitted_by TEXT,
    created_at BIGINT NOT NULL,
    alive_at BIGINT NOT NULL,
    released_at BIGINT,
    completed_at BIGINT,
    paused_at BIGINT
);
CREATE INDEX payroll_by_programme ON payroll (programme, number);

-- A row of the file that was not taken in, with the words to mend it by.
CREATE TABLE reject (
    payroll BIGINT NOT NULL,
    line BIGINT NOT NULL,
    code TEXT NOT NULL,
    text TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (payroll, line)
);

CREATE TABLE approval (
    number {{NUMBER_KEY}},
    payroll BIGINT NOT NULL REFERENCES payroll (number),
    person TEXT NOT NULL,
    decision TEXT NOT NULL CHECK (decision IN ('approved', 'recalled')),
    content_hash BYTEA NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX approval_by_payroll ON approval (payroll, at, number);

-- Hot: written at intake and at the end, nothing between on the happy path of a batch.
-- State 3 (queued) means: follow the batch; from then on the batch's state is the row's.
CREATE TABLE disbursement (
    number {{NUMBER_KEY}},
    payroll BIGINT NOT NULL,
    batch BIGINT NOT NULL,
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0),
    end_evidence BIGINT,
    end_position INTEGER,
    generation SMALLINT NOT NULL,
    state SMALLINT NOT NULL,
    identity BYTEA NOT NULL,
    CHECK (state < 7 OR end_evidence IS NOT NULL),
    CHECK (state >= 7 OR end_evidence IS NULL),
    UNIQUE (identity, generation)
) {{HOT}};

-- Written once: who is paid, sealed as a whole so that it can be encrypted without touching the rest.
CREATE TABLE payee (
    number {{NUMBER_KEY}},
    line BIGINT NOT NULL,
    account_hash BYTEA NOT NULL,
    sealed BYTEA NOT NULL
);

-- What departs from its batch alone: the reason of a rejection or return, the provider's own name for it.
CREATE TABLE departure (
    disbursement {{NUMBER_KEY}},
    payroll BIGINT NOT NULL,
    class TEXT,
    code TEXT,
    provider_reference TEXT,
    return_evidence BIGINT,
    sealed BYTEA
);
CREATE INDEX departure_by_payroll ON departure (payroll, code);

CREATE TABLE batch (
    number {{NUMBER_KEY}},
    payroll BIGINT NOT NULL REFERENCES payroll (number),
    programme BIGINT NOT NULL REFERENCES programme (number),
    provider TEXT NOT NULL,
    currency TEXT NOT NULL,
    state TEXT NOT NULL,
    payments BIGINT NOT NULL,
    sum_minor BIGINT NOT NULL,
    open_payments BIGINT NOT NULL,
    open_minor BIGINT NOT NULL,
    settled_payments BIGINT NOT NULL DEFAULT 0,
    settled_minor BIGINT NOT NULL DEFAULT 0,
    rejected_payments BIGINT NOT NULL DEFAULT 0,
    rejected_minor BIGINT NOT NULL DEFAULT 0,
    returned_payments BIGINT NOT NULL DEFAULT 0,
    returned_minor BIGINT NOT NULL DEFAULT 0,
    first_number BIGINT NOT NULL,
    last_number BIGINT NOT NULL,
    content_hash BYTEA NOT NULL,
    epoch BIGINT NOT NULL DEFAULT 0,
    lease_owner TEXT,
    lease_until BIGINT NOT NULL DEFAULT 0,
    copies BIGINT NOT NULL DEFAULT 0,
    first_copy_at BIGINT NOT NULL DEFAULT 0,
    last_copy_at BIGINT NOT NULL DEFAULT 0,
    fence_at BIGINT NOT NULL DEFAULT 0,
    due_at BIGINT,
    nudged_at BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0,
    publications BIGINT NOT NULL DEFAULT 0,
    provider_reference TEXT,
    wire BIGINT,
    CHECK (open_payments >= 0 AND open_minor >= 0),
    CHECK (payments = open_payments + settled_payments + rejected_payments + returned_payments),
    CHECK (sum_minor = open_minor + settled_minor + rejected_minor + returned_minor)
);
CREATE INDEX batch_by_payroll ON batch (payroll, number);
CREATE INDEX batch_due ON batch (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX batch_by_provider ON batch (provider, provider_reference) WHERE provider_reference IS NOT NULL;

CREATE TABLE evidence (
    number {{NUMBER_KEY}},
    programme BIGINT NOT NULL REFERENCES programme (number),
    kind TEXT NOT NULL CHECK (kind IN ('message', 'decision', 'rule', 'wire')),
    source TEXT NOT NULL,
    origin TEXT NOT NULL,
    batch BIGINT,
    sha256 BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX evidence_by_batch ON evidence (batch, number);

-- One line of the ledger: an amount moves from the credited account to the debited one, so that it balances
-- by its shape.
CREATE TABLE ledger_entry (
    number {{NUMBER_KEY}},
    programme BIGINT NOT NULL REFERENCES programme (number),
    currency TEXT NOT NULL,
    provider TEXT NOT NULL,
    debit TEXT NOT NULL,
    credit TEXT NOT NULL,
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0),
    payroll BIGINT,
    batch BIGINT,
    evidence BIGINT,
    at BIGINT NOT NULL,
    CHECK (debit <> credit)
);
CREATE INDEX ledger_by_programme ON ledger_entry (programme, payroll);

CREATE TABLE journal (
    number {{NUMBER_KEY}},
    tenant BIGINT NOT NULL,
    subject BIGINT NOT NULL,
    event TEXT NOT NULL,
    actor TEXT NOT NULL,
    payments BIGINT NOT NULL DEFAULT 0,
    sum_minor BIGINT NOT NULL DEFAULT 0,
    list_hash BYTEA,
    evidence BIGINT,
    note TEXT NOT NULL DEFAULT '',
    at BIGINT NOT NULL
);
CREATE INDEX journal_by_subject ON journal (subject, number);

CREATE TABLE exception (
    number {{NUMBER_KEY}},
    tenant BIGINT NOT NULL,
    programme BIGINT NOT NULL,
    code TEXT NOT NULL,
    subject BIGINT NOT NULL,
    provider TEXT NOT NULL,
    evidence BIGINT NOT NULL,
    detail TEXT NOT NULL,
    opened_at BIGINT NOT NULL,
    closed_at BIGINT,
    UNIQUE (code, subject, evidence)
);
CREATE INDEX exception_open ON exception (tenant, number) WHERE closed_at IS NULL;

-- One outgoing message to a registry: the ends in one number range of a batch that one evidence proved.
CREATE TABLE publication (
    number {{NUMBER_KEY}},
    tenant BIGINT NOT NULL,
    programme BIGINT NOT NULL REFERENCES programme (number),
    payroll BIGINT NOT NULL,
    batch BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    evidence BIGINT NOT NULL,
    first_number BIGINT NOT NULL,
    last_number BIGINT NOT NULL,
    items BIGINT NOT NULL,
    body_hash BYTEA,
    state TEXT NOT NULL CHECK (state IN ('open', 'acknowledged', 'dead')),
    attempts BIGINT NOT NULL DEFAULT 0,
    due_at BIGINT,
    nudged_at BIGINT NOT NULL DEFAULT 0,
    lease_until BIGINT NOT NULL DEFAULT 0,
    last_error TEXT,
    created_at BIGINT NOT NULL,
    acknowledged_at BIGINT,
    UNIQUE (batch, sequence)
);
CREATE INDEX publication_due ON publication (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX publication_by_payroll ON publication (payroll, number);

-- A provider or a programme that may not send. Code is 'provider:NAME' or 'programme:NUMBER'.
CREATE TABLE pause (
    code TEXT NOT NULL PRIMARY KEY,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL
);

-- Raw calls of providers, stored before they are answered.
CREATE TABLE callback (
    number {{NUMBER_KEY}},
    provider TEXT NOT NULL,
    sha256 BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    at BIGINT NOT NULL,
    verdict TEXT NOT NULL,
    UNIQUE (provider, sha256)
);
