-- What calls alike have in common stands once: a row of the ledger names its kind instead of repeating 300 bytes of it.
-- `ledger` is a view from here on, with every column that the table had. Where there is no count −1 stands in the
-- tables, and '' where there is no text; the view says NULL.

CREATE TABLE call_kinds (
    number INTEGER PRIMARY KEY,
    account_id TEXT NOT NULL,
    bearer_id TEXT NOT NULL,
    month TEXT NOT NULL,
    model TEXT NOT NULL,
    tier TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    stream INTEGER NOT NULL,
    account_cap INTEGER NOT NULL,
    bearer_cap INTEGER NOT NULL,
    provider TEXT NOT NULL,
    upstream_model TEXT NOT NULL,
    estimated INTEGER NOT NULL,
    generated_estimated INTEGER NOT NULL,
    rates INTEGER NOT NULL,
    price_id TEXT NOT NULL,
    markup TEXT NOT NULL,
    outcome TEXT NOT NULL,
    stream_state TEXT NOT NULL,
    error_code TEXT NOT NULL,
    billed_by TEXT NOT NULL,
    UNIQUE (
        account_id, bearer_id, month, model, tier, endpoint, stream, account_cap, bearer_cap, provider, upstream_model,
        estimated, generated_estimated, rates, price_id, markup, outcome, stream_state, error_code, billed_by
    )
) STRICT;

CREATE TABLE ledger_rows (
    id TEXT PRIMARY KEY,
    kind INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    hold_amount INTEGER NOT NULL,
    hold_input INTEGER NOT NULL,
    hold_output INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    charge INTEGER NOT NULL,
    owed INTEGER NOT NULL,
    loss INTEGER NOT NULL,
    credit_used INTEGER NOT NULL,  -- the rest of the charge is overage
    latency_ms INTEGER NOT NULL,
    ttft_ms INTEGER NOT NULL,
    served_at INTEGER NOT NULL,
    acknowledged_bytes INTEGER NOT NULL,
    sequence INTEGER NOT NULL,  -- of its record in the account's chain; 0 where another instance writes the record
    -- What the provider counted, where that is not what was delivered: all five, or none.
    generated_input INTEGER,
    generated_output INTEGER,
    generated_cached INTEGER,
    generated_cache_write INTEGER,
    generated_reasoning INTEGER,
    CHECK (credit_used >= 0 AND credit_used <= charge AND charge <= hold_amount)
) STRICT, WITHOUT ROWID;

INSERT INTO call_kinds (
    account_id, bearer_id, month, model, tier, endpoint, stream, account_cap, bearer_cap, provider, upstream_model,
    estimated, generated_estimated, rates, price_id, markup, outcome, stream_state, error_code, billed_by
)
SELECT
    account_id, bearer_id, month, model, tier, endpoint, stream, coalesce(account_cap, -1), coalesce(bearer_cap, -1),
    provider, upstream_model, estimated, generated_estimated, rates, price_id, markup, outcome,
    coalesce(stream_state, ''), coalesce(error_code, ''), billed_by
FROM ledger
WHERE true
ON CONFLICT DO NOTHING;

INSERT INTO ledger_rows
SELECT
    l.id, k.number, l.started_at, l.hold_amount, l.hold_input, l.hold_output, l.input, l.output, l.cached,
    l.cache_write, l.reasoning, l.charge, l.owed, l.loss, l.credit_used, l.latency_ms, coalesce(l.ttft_ms, -1),
    l.served_at, coalesce(l.acknowledged_bytes, -1), l.sequence, l.generated_input, l.generated_output,
    l.generated_cached, l.generated_cache_write, l.generated_reasoning
FROM ledger l
JOIN call_kinds k ON k.account_id = l.account_id AND k.bearer_id = l.bearer_id AND k.month = l.month
    AND k.model = l.model AND k.tier = l.tier AND k.endpoint = l.endpoint AND k.stream = l.stream
    AND k.account_cap = coalesce(l.account_cap, -1) AND k.bearer_cap = coalesce(l.bearer_cap, -1)
    AND k.provider = l.provider AND k.upstream_model = l.upstream_model AND k.estimated = l.estimated
    AND k.generated_estimated = l.generated_estimated AND k.rates = l.rates AND k.price_id = l.price_id
    AND k.markup = l.markup AND k.outcome = l.outcome AND k.stream_state = coalesce(l.stream_state, '')
    AND k.error_code = coalesce(l.error_code, '') AND k.billed_by = l.billed_by
ORDER BY l.rowid;

DROP TABLE ledger;
-- What cost the house something: its bound is read from these at a start.
CREATE INDEX ledger_losses ON ledger_rows (kind, started_at) WHERE loss > 0;

CREATE VIEW ledger AS
SELECT
    l.id, k.account_id, k.bearer_id, k.month, k.model, k.tier, k.endpoint, k.stream, l.started_at, l.hold_amount,
    l.hold_input, l.hold_output, nullif(k.account_cap, -1) AS account_cap, nullif(k.bearer_cap, -1) AS bearer_cap,
    k.provider, k.upstream_model, l.input, l.output, l.cached, l.cache_write, l.reasoning, k.estimated,
    coalesce(l.generated_input, l.input) AS generated_input,
    coalesce(l.generated_output, l.output) AS generated_output,
    coalesce(l.generated_cached, l.cached) AS generated_cached,
    coalesce(l.generated_cache_write, l.cache_write) AS generated_cache_write,
    coalesce(l.generated_reasoning, l.reasoning) AS generated_reasoning,
    k.generated_estimated, l.charge, l.owed, l.loss, l.credit_used, l.charge - l.credit_used AS overage, k.rates,
    k.price_id, k.markup, k.outcome, nullif(k.stream_state, '') AS stream_state,
    nullif(k.error_code, '') AS error_code, l.latency_ms, nullif(l.ttft_ms, -1) AS ttft_ms, l.served_at, k.billed_by,
    nullif(l.acknowledged_bytes, -1) AS acknowledged_bytes, l.sequence
FROM ledger_rows l JOIN call_kinds k ON k.number = l.kind;

-- An open call's hold says all of these.
ALTER TABLE open_calls DROP COLUMN account_id;
ALTER TABLE open_calls DROP COLUMN bearer_id;
ALTER TABLE open_calls DROP COLUMN month;
ALTER TABLE open_calls DROP COLUMN amount;
ALTER TABLE open_calls DROP COLUMN started_at;

CREATE TRIGGER ledger_rows_no_update BEFORE UPDATE ON ledger_rows
BEGIN SELECT RAISE (ABORT, 'a settled call is never changed; correct it with an adjustment'); END;
CREATE TRIGGER ledger_rows_no_delete BEFORE DELETE ON ledger_rows
BEGIN SELECT RAISE (ABORT, 'a settled call is never removed; correct it with an adjustment'); END;
CREATE TRIGGER call_kinds_no_update BEFORE UPDATE ON call_kinds
BEGIN SELECT RAISE (ABORT, 'what a settled call was is never changed; correct it with an adjustment'); END;
CREATE TRIGGER call_kinds_no_delete BEFORE DELETE ON call_kinds
BEGIN SELECT RAISE (ABORT, 'what a settled call was is never removed; correct it with an adjustment'); END;
