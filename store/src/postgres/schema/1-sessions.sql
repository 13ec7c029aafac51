-- Sessions, one row each. To be run in a schema of its own, here `coatroom` (CREATE SCHEMA coatroom).

CREATE TABLE coatroom.version (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    version integer NOT NULL
);
INSERT INTO coatroom.version (version) VALUES (1);

CREATE TABLE coatroom.session (
    handle bytea PRIMARY KEY,
    -- In units of 2^20 ms, so that a touch seldom changes it. No other index holds anything that a write changes, and a
    -- third of each page is left free: a write is a heap-only update, which touches no index.
    garbage_at bigint NOT NULL,
    -- Version and commit id at bytes 3 to 18, which every write compares.
    record bytea NOT NULL
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0.1,
    autovacuum_analyze_scale_factor = 0.05
);
-- Within the row where it can be: a record is read as a whole, and nearly always.
ALTER TABLE coatroom.session ALTER COLUMN record SET STORAGE MAIN;
CREATE INDEX session_garbage ON coatroom.session (garbage_at);
