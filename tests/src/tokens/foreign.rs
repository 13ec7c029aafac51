//! Tokens that other libraries made: PyJWT 2.15.1 (`tests/interop/tokens.py --make`) and jose 6.2.17 on Node
//! (`tests/interop/tokens.mjs --make`).

pub const MADE_ELSEWHERE: [(&str, &str, &str); 4] = [
    (
        "PyJWT, EdDSA",
        "eddsa",
        concat!(
            "eyJhbGciOiJFZERTQSIsImtpZCI6ImVkLTEiLCJ0eXAiOiJhdCtqd3QifQ.eyJpc3MiOiJodHRwczovL3Nob3AuZXhhbXBsZSIsI",
            "mF1ZCI6Im9yZGVycyIsInN1YiI6ImFkYSIsInNpZCI6IkFBRUNBd1FGQmdjSUNRb0wiLCJqdGkiOiJ0b2tlbi0xIiwiaWF0IjoxN",
            "zY3MjI1NjAwLCJuYmYiOjE3NjcyMjU2MDAsImV4cCI6MTc2NzIyNTkwMCwibGV2ZWwiOjEsInJvbGVzIjpbImFkbWluIiwic3RhZ",
            "mYiXX0.Zs0YGXrNLoOZxM0o3cZDNz44nDob7tkoAj2YU6b5Rl3w_2af7yea2-PsRyX4x2pyowA9WxRDQ9UT9ljQMGiTBQ",
        ),
    ),
    (
        "PyJWT, HS256",
        "hs256",
        concat!(
            "eyJhbGciOiJIUzI1NiIsImtpZCI6ImhzLTEiLCJ0eXAiOiJhdCtqd3QifQ.eyJpc3MiOiJodHRwczovL3Nob3AuZXhhbXBsZSIsI",
            "mF1ZCI6Im9yZGVycyIsInN1YiI6ImFkYSIsInNpZCI6IkFBRUNBd1FGQmdjSUNRb0wiLCJqdGkiOiJ0b2tlbi0xIiwiaWF0IjoxN",
            "zY3MjI1NjAwLCJuYmYiOjE3NjcyMjU2MDAsImV4cCI6MTc2NzIyNTkwMCwibGV2ZWwiOjEsInJvbGVzIjpbImFkbWluIiwic3RhZ",
            "mYiXX0.SI6n14KM2ohBaURT9PrVaG6_DzXmJCuaaTf3pjdMPDw",
        ),
    ),
    (
        "jose on Node, EdDSA",
        "eddsa",
        concat!(
            "eyJhbGciOiJFZERTQSIsImtpZCI6ImVkLTEiLCJ0eXAiOiJhdCtqd3QifQ.eyJzaWQiOiJBQUVDQXdRRkJnY0lDUW9MIiwibGV2Z",
            "WwiOjEsInJvbGVzIjpbImFkbWluIiwic3RhZmYiXSwiaXNzIjoiaHR0cHM6Ly9zaG9wLmV4YW1wbGUiLCJhdWQiOiJvcmRlcnMiL",
            "CJzdWIiOiJhZGEiLCJqdGkiOiJ0b2tlbi0xIiwiaWF0IjoxNzY3MjI1NjAwLCJuYmYiOjE3NjcyMjU2MDAsImV4cCI6MTc2NzIyN",
            "TkwMH0.MKyJtLgfGOeLerZ_I2CPnvEZD2gxXXGLUGcXVm9R6QyP4f_RP9jT8kM3gLVNl2AYRxNdbNawnVmf4lZC4VWDCw",
        ),
    ),
    (
        "jose on Node, HS256",
        "hs256",
        concat!(
            "eyJhbGciOiJIUzI1NiIsImtpZCI6ImhzLTEiLCJ0eXAiOiJhdCtqd3QifQ.eyJzaWQiOiJBQUVDQXdRRkJnY0lDUW9MIiwibGV2Z",
            "WwiOjEsInJvbGVzIjpbImFkbWluIiwic3RhZmYiXSwiaXNzIjoiaHR0cHM6Ly9zaG9wLmV4YW1wbGUiLCJhdWQiOiJvcmRlcnMiL",
            "CJzdWIiOiJhZGEiLCJqdGkiOiJ0b2tlbi0xIiwiaWF0IjoxNzY3MjI1NjAwLCJuYmYiOjE3NjcyMjU2MDAsImV4cCI6MTc2NzIyN",
            "TkwMH0.f0llW1aE4-DOCkTBqRIoJVyI7uXstv8wPxd45dbuKEY",
        ),
    ),
];
