-- The first migration holds every table that the contract needs.
--
-- Amounts of one row (charge, hold, cap) are INTEGER units of 1e-12 USD: a row fits 64 bits. Totals over rows are
-- decimal TEXT, added by the writer in Python, because ten calls of the largest amount would pass 64 bits.
-- Instants are milliseconds since the epoch. Tables that are facts refuse UPDATE and DELETE by trigger.

-- ---------------------------------------------------------------- who

CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    suspended INTEGER NOT NULL DEFAULT 0,
    cap INTEGER,
    monthly_credit INTEGER NOT NULL DEFAULT 0 CHECK (monthly_credit >= 0),
    limits TEXT NOT NULL DEFAULT '{}'
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    digest BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    hint TEXT NOT NULL,
    models TEXT,
    cap INTEGER,
    expires_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_account ON keys (account_id, id);

-- Registered issuers of bearers. `pinned_keys` is the set pinned at registration, `jwks` the last good set that was
-- fetched; both are JWK Sets (JSON).
CREATE TABLE instances (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    kind TEXT NOT NULL CHECK (kind IN ('instance', 'self_host', 'gateway')),
    name TEXT NOT NULL,
    pinned_keys TEXT,
    jwks_url TEXT,
    jwks TEXT,
    jwks_fetched_at INTEGER,
    push_url TEXT,
    cap INTEGER,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX instances_by_account ON instances (account_id, id);
-- An account's records have one home.
CREATE UNIQUE INDEX instances_one_home ON instances (account_id) WHERE push_url IS NOT NULL AND revoked_at IS NULL;

CREATE TABLE revoked_jtis (
    issuer TEXT NOT NULL,
    jti TEXT NOT NULL,
    revoked_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, jti)
) STRICT, WITHOUT ROWID;
CREATE INDEX revoked_jtis_by_expiry ON revoked_jtis (expires_at);

-- A row is one stretch of one plan: what was before stays, so an old month's invoice never changes.
CREATE TABLE subscriptions (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    plan TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'suspended', 'cancelled')),
    started_at INTEGER NOT NULL,
    ends_at INTEGER,
    fee INTEGER NOT NULL DEFAULT 0,
    credit INTEGER NOT NULL DEFAULT 0,
    cap INTEGER,
    terms TEXT NOT NULL DEFAULT '{}'
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX subscriptions_one_active ON subscriptions (account_id) WHERE status IN ('active', 'suspended');
CREATE INDEX subscriptions_by_account ON subscriptions (account_id, started_at);

CREATE TABLE subscription_history (
    subscription_id TEXT NOT NULL REFERENCES subscriptions (id),
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    status TEXT NOT NULL,
    actor TEXT NOT NULL,
    PRIMARY KEY (subscription_id, number)
) STRICT, WITHOUT ROWID;

-- ---------------------------------------------------------------- what was called

-- Two tables, not one with a state: the ledger only ever grows, so a trigger can refuse every change to it, and what
-- is open stays a small table that recovery reads whole.
CREATE TABLE owners (
    boot_id TEXT PRIMARY KEY,
    started_at INTEGER NOT NULL,
    lease_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE open_calls (
    id TEXT PRIMARY KEY,
    boot_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    bearer_id TEXT NOT NULL,
    month TEXT NOT NULL,
    amount INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    hold BLOB NOT NULL  -- the whole Hold, rates included (msgpack): the row alone is enough to settle it
) STRICT, WITHOUT ROWID;

-- One packed row an owner (msgpack of a list of Checkpoint), replaced once a second.
CREATE TABLE checkpoints (
    boot_id TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    rows BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Each distinct set of rates once (JSON): a ledger row names it instead of repeating 300 bytes.
CREATE TABLE rates (
    number INTEGER PRIMARY KEY,
    body TEXT NOT NULL UNIQUE
) STRICT;

-- Wide and only appended to, so with a rowid (records, too): an append then moves no neighbours.
CREATE TABLE ledger (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL,
    bearer_id TEXT NOT NULL,
    month TEXT NOT NULL,
    model TEXT NOT NULL,
    tier TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    stream INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    hold_amount INTEGER NOT NULL,
    hold_input INTEGER NOT NULL,
    hold_output INTEGER NOT NULL,
    account_cap INTEGER,
    bearer_cap INTEGER,
    provider TEXT NOT NULL,
    upstream_model TEXT NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    generated_input INTEGER NOT NULL,
    generated_output INTEGER NOT NULL,
    generated_cached INTEGER NOT NULL,
    generated_cache_write INTEGER NOT NULL,
    generated_reasoning INTEGER NOT NULL,
    generated_estimated INTEGER NOT NULL,
    charge INTEGER NOT NULL,
    owed INTEGER NOT NULL,
    loss INTEGER NOT NULL,
    credit_used INTEGER NOT NULL CHECK (credit_used >= 0),
    overage INTEGER NOT NULL CHECK (overage >= 0),
    rates INTEGER NOT NULL,
    price_id TEXT NOT NULL,
    markup TEXT NOT NULL,
    outcome TEXT NOT NULL,
    stream_state TEXT,
    error_code TEXT,
    latency_ms INTEGER NOT NULL,
    ttft_ms INTEGER,
    served_at INTEGER NOT NULL,
    billed_by TEXT NOT NULL,
    acknowledged_bytes INTEGER,
    sequence INTEGER NOT NULL,  -- of its record in the account's chain; 0 where another instance writes the record
    CHECK (charge >= 0 AND charge <= hold_amount AND credit_used + overage = charge)
) STRICT;
-- What cost the house something is among these. A call that was delivered whole pays for no index but its id's.
CREATE INDEX ledger_not_ok ON ledger (account_id, started_at) WHERE outcome <> 'ok';

CREATE TABLE adjustments (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL,
    month TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('refund', 'credit_note', 'reversal')),
    units INTEGER NOT NULL,
    why TEXT NOT NULL,
    who TEXT NOT NULL,
    refers_to TEXT,
    at INTEGER NOT NULL,
    sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX adjustments_by_month ON adjustments (account_id, month);
CREATE INDEX adjustments_by_call ON adjustments (refers_to) WHERE refers_to IS NOT NULL;

CREATE TABLE credit_grants (
    account_id TEXT NOT NULL,
    month TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    granted_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, month)
) STRICT, WITHOUT ROWID;

-- ---------------------------------------------------------------- totals, derived

CREATE TABLE account_months (
    account_id TEXT NOT NULL,
    month TEXT NOT NULL,
    calls INTEGER NOT NULL,
    settled TEXT NOT NULL,
    credit_granted INTEGER NOT NULL,
    credit_used INTEGER NOT NULL,
    PRIMARY KEY (account_id, month)
) STRICT, WITHOUT ROWID;

CREATE TABLE bearer_months (
    account_id TEXT NOT NULL,
    bearer_id TEXT NOT NULL,
    month TEXT NOT NULL,
    settled TEXT NOT NULL,
    PRIMARY KEY (account_id, bearer_id, month)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollups_daily (
    account_id TEXT NOT NULL,
    day TEXT NOT NULL,
    bearer_id TEXT NOT NULL,
    model TEXT NOT NULL,
    tier TEXT NOT NULL,
    calls INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    estimated_calls INTEGER NOT NULL,
    generated_output INTEGER NOT NULL,
    charge TEXT NOT NULL,
    credit_used TEXT NOT NULL,
    overage TEXT NOT NULL,
    owed TEXT NOT NULL,
    loss TEXT NOT NULL,
    PRIMARY KEY (account_id, day, bearer_id, model, tier)
) STRICT, WITHOUT ROWID;
CREATE INDEX rollups_by_day ON rollups_daily (day);

-- ---------------------------------------------------------------- records

CREATE TABLE records (
    account_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    thread TEXT NOT NULL,
    id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    model TEXT,
    body BLOB NOT NULL,
    hash BLOB NOT NULL,
    origin TEXT NOT NULL,  -- "ledger", or who sent it
    PRIMARY KEY (account_id, sequence)
) STRICT;
-- A call's own record is found by its ledger row.
CREATE UNIQUE INDEX records_by_id ON records (account_id, id) WHERE origin <> 'ledger';

-- Where each hour of a thread begins: records are found by time with one row an hour, not with an entry a record.
-- `hour` is hours since the epoch, `first` the sequence of the first record that was made in it.
CREATE TABLE record_hours (
    account_id TEXT NOT NULL,
    thread TEXT NOT NULL,
    hour INTEGER NOT NULL,
    first INTEGER NOT NULL,
    PRIMARY KEY (account_id, thread, hour)
) STRICT, WITHOUT ROWID;

-- The end of each account's chain, and where retention has cut its beginning.
CREATE TABLE heads (
    account_id TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL,
    pruned_sequence INTEGER NOT NULL DEFAULT 0,
    pruned_hash BLOB
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    sink TEXT NOT NULL,
    account_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER,
    last_error TEXT,
    PRIMARY KEY (sink, account_id)
) STRICT, WITHOUT ROWID;

-- ---------------------------------------------------------------- the rest

CREATE TABLE operator_log (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX operator_log_by_subject ON operator_log (subject, number);

CREATE TABLE state (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The places of Idempotency-Keys. `key` and `body_hash` are keyed digests and `answer` is sealed: none of it says
-- what was sent. A place without an answer is what the ledger says of its call.
CREATE TABLE idempotency (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    account_id TEXT NOT NULL,
    body_hash BLOB NOT NULL,
    request_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    answer BLOB,
    PRIMARY KEY (scope, key)
) STRICT;
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);

-- How many answers are kept for each account, and their bytes: what the bounds are checked against.
CREATE TABLE idempotency_kept (
    account_id TEXT PRIMARY KEY,
    answers INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER idempotency_kept_more AFTER UPDATE OF answer ON idempotency
WHEN old.answer IS NULL AND new.answer IS NOT NULL
BEGIN
    INSERT INTO idempotency_kept VALUES (new.account_id, 1, length(new.answer))
    ON CONFLICT (account_id) DO UPDATE SET answers = answers + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER idempotency_kept_less AFTER DELETE ON idempotency WHEN old.answer IS NOT NULL
BEGIN
    UPDATE idempotency_kept SET answers = answers - 1, bytes = bytes - length(old.answer)
    WHERE account_id = old.account_id;
END;

-- What providers must be told again in a later call. `key` is a keyed digest and `sealed` is encrypted.
CREATE TABLE memories (
    account_id TEXT NOT NULL,
    key BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (account_id, key)
) STRICT;
CREATE INDEX memories_by_expiry ON memories (expires_at);
CREATE INDEX memories_by_account ON memories (account_id, expires_at);

-- How many entries each account has, and their bytes, 256 for each row included; under '' those of all accounts.
CREATE TABLE memories_kept (
    account_id TEXT PRIMARY KEY,
    entries INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX memories_kept_by_size ON memories_kept (bytes);
INSERT INTO memories_kept VALUES ('', 0, 0);
CREATE TRIGGER memories_more AFTER INSERT ON memories
BEGIN
    INSERT INTO memories_kept VALUES (new.account_id, 1, length(new.sealed) + 256)
    ON CONFLICT (account_id) DO UPDATE SET entries = entries + 1, bytes = bytes + excluded.bytes;
    UPDATE memories_kept SET entries = entries + 1, bytes = bytes + length(new.sealed) + 256 WHERE account_id = '';
END;
CREATE TRIGGER memories_less AFTER DELETE ON memories
BEGIN
    UPDATE memories_kept SET entries = entries - 1, bytes = bytes - length(old.sealed) - 256
    WHERE account_id IN ('', old.account_id);
    DELETE FROM memories_kept WHERE account_id = old.account_id AND entries = 0;
END;
CREATE TRIGGER memories_no_update BEFORE UPDATE ON memories
BEGIN SELECT RAISE (ABORT, 'an entry is replaced, never changed: its bytes are counted'); END;

-- ---------------------------------------------------------------- facts stay

CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger
BEGIN SELECT RAISE (ABORT, 'a settled call is never changed; correct it with an adjustment'); END;
CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger
BEGIN SELECT RAISE (ABORT, 'a settled call is never removed; correct it with an adjustment'); END;
CREATE TRIGGER adjustments_no_update BEFORE UPDATE ON adjustments
BEGIN SELECT RAISE (ABORT, 'an adjustment is never changed; add another'); END;
CREATE TRIGGER adjustments_no_delete BEFORE DELETE ON adjustments
BEGIN SELECT RAISE (ABORT, 'an adjustment is never removed; add another'); END;
CREATE TRIGGER credit_grants_no_update BEFORE UPDATE ON credit_grants
BEGIN SELECT RAISE (ABORT, 'a grant is made once a month and never changed'); END;
CREATE TRIGGER credit_grants_no_delete BEFORE DELETE ON credit_grants
BEGIN SELECT RAISE (ABORT, 'a grant is made once a month and never removed'); END;
CREATE TRIGGER subscription_history_no_update BEFORE UPDATE ON subscription_history
BEGIN SELECT RAISE (ABORT, 'what a subscription was is never changed'); END;
CREATE TRIGGER subscription_history_no_delete BEFORE DELETE ON subscription_history
BEGIN SELECT RAISE (ABORT, 'what a subscription was is never removed'); END;
CREATE TRIGGER rates_no_update BEFORE UPDATE ON rates
BEGIN SELECT RAISE (ABORT, 'rates that a call was priced by are never changed'); END;
CREATE TRIGGER rates_no_delete BEFORE DELETE ON rates
BEGIN SELECT RAISE (ABORT, 'rates that a call was priced by are never removed'); END;
CREATE TRIGGER records_no_update BEFORE UPDATE ON records
BEGIN SELECT RAISE (ABORT, 'a record is never changed; later facts are new records'); END;
-- Retention first moves heads.pruned_sequence (and its hash, from which the chain is then verified).
CREATE TRIGGER records_no_delete BEFORE DELETE ON records
WHEN old.sequence > coalesce((SELECT pruned_sequence FROM heads WHERE account_id = old.account_id), 0)
BEGIN SELECT RAISE (ABORT, 'a record is removed only by retention, from the beginning of its chain'); END;
