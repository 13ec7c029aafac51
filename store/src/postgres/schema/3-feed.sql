-- What has ended, for those who verify access tokens.

-- Numbers are given under one lock, held until the commit: whoever reads up to a number misses none below it.
CREATE TABLE coatroom.announced (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Milliseconds since 1970.
    forget_at bigint NOT NULL,
    announcement bytea NOT NULL
);
CREATE INDEX announced_forget_at ON coatroom.announced (forget_at);

UPDATE coatroom.version SET version = 3;
