-- An owner's checkpoints are a log: a row for the streams that moved within a second, and from time to time one for all
-- that are open, which takes the place of those before it. One row for all, replaced each second, grew with the streams
-- that were open and not with what moved.

CREATE TABLE checkpoint_log (
    boot_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    rows BLOB NOT NULL,  -- msgpack of a list of Checkpoint; of a call's the one in the row with the highest number holds
    PRIMARY KEY (boot_id, number)
) STRICT, WITHOUT ROWID;
INSERT INTO checkpoint_log SELECT boot_id, 0, at, rows FROM checkpoints;
DROP TABLE checkpoints;
ALTER TABLE checkpoint_log RENAME TO checkpoints;
