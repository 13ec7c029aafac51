-- Who is logged in where, and whose logins count as revoked.

-- A principal is its name in UTF-8; one of more than 255 bytes is the byte 255 and the SHA-256 digest of its name.
CREATE TABLE coatroom.listed (
    principal bytea,
    handle bytea,
    -- Milliseconds since 1970; the session is over by then.
    until bigint NOT NULL,
    PRIMARY KEY (principal, handle)
);
CREATE INDEX listed_until ON coatroom.listed (until);

CREATE TABLE coatroom.barred (
    principal bytea PRIMARY KEY,
    -- Milliseconds since 1970: logins begun before are revoked.
    not_before bigint NOT NULL
);
CREATE INDEX barred_not_before ON coatroom.barred (not_before);

UPDATE coatroom.version SET version = 2;
