-- Exceptions end: two persons decide, the money of a contradicted payment waits in suspense until they did, and what
-- was taken for certain before is kept. Payrolls may pay again what was rejected, returned or cancelled.

-- suspended_from: the account its payment's money came from; NULL where it concerns no money of its own.
-- proposed_state: where the payment stood when it was proposed; NULL where the subject is a batch.
CREATE TABLE exception_next (
    number {{NUMBER_KEY}},
    tenant BIGINT NOT NULL,
    programme BIGINT NOT NULL,
    code TEXT NOT NULL,
    subject BIGINT NOT NULL,
    provider TEXT NOT NULL,
    evidence BIGINT NOT NULL,
    detail TEXT NOT NULL,
    suspended_from TEXT,
    opened_at BIGINT NOT NULL,
    proposed TEXT,
    proposed_by TEXT,
    proposed_at BIGINT,
    proposed_state SMALLINT,
    proposed_evidence BIGINT,
    proposed_sealed BYTEA,
    closed_at BIGINT,
    closed_by TEXT,
    decision TEXT,
    decision_evidence BIGINT,
    CHECK ((proposed IS NULL) = (proposed_by IS NULL)),
    CHECK (closed_by IS NULL OR (proposed_by IS NOT NULL AND closed_by <> proposed_by)),
    CHECK (closed_by IS NULL OR (closed_at IS NOT NULL AND decision IS NOT NULL AND decision_evidence IS NOT NULL))
);
INSERT INTO exception_next (number, tenant, programme, code, subject, provider, evidence, detail, opened_at, closed_at)
    SELECT number, tenant, programme, code, subject, provider, evidence, detail, opened_at, closed_at FROM exception;
DROP TABLE exception;
ALTER TABLE exception_next RENAME TO exception;
CREATE INDEX exception_open ON exception (tenant, number) WHERE closed_at IS NULL;
-- One of a kind is open for a subject; one message opens one of a kind for it, once.
CREATE UNIQUE INDEX exception_once ON exception (subject, code) WHERE closed_at IS NULL;
CREATE UNIQUE INDEX exception_by_evidence ON exception (code, subject, evidence) WHERE evidence > 0;
CREATE INDEX exception_suspended ON exception (subject) WHERE closed_at IS NULL AND suspended_from IS NOT NULL;

-- How a payment had ended before two persons decided otherwise: messages that told of it are made of this.
CREATE TABLE overruled (
    disbursement BIGINT NOT NULL,
    batch BIGINT NOT NULL,
    state SMALLINT NOT NULL,
    end_evidence BIGINT NOT NULL,
    end_position INTEGER,
    return_evidence BIGINT,
    code TEXT,
    sealed BYTEA,
    PRIMARY KEY (disbursement, end_evidence)
);
CREATE INDEX overruled_by_batch ON overruled (batch);

-- The provider's name of the return, by which a second one is told from a repeat.
ALTER TABLE departure ADD COLUMN return_reference TEXT;

ALTER TABLE payroll ADD COLUMN kind TEXT NOT NULL DEFAULT 'payment';
ALTER TABLE payroll ADD COLUMN cancelled_rows BIGINT NOT NULL DEFAULT 0;
ALTER TABLE payroll ADD COLUMN cancelled_minor BIGINT NOT NULL DEFAULT 0;
