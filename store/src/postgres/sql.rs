//! Every statement, with the name of the schema in its place.
//!
//! A write says in its own last step whether it waits for the disk (`synchronous_commit`, for its own transaction alone), so
//! that durable and other writes share connections.

use tokio_postgres::types::Type;

use coatroom_core::Stamp;

/// A statement and the types of its parameters.
#[derive(Debug)]
pub(super) struct Sql {
    pub(super) text: String,
    pub(super) types: &'static [Type],
    /// What is said once it is committed, in the same trip. Whether that can be said changes nothing about it.
    pub(super) then: Option<String>,
}

/// The parameters of a write, in this order. A statement takes as many of them as it needs, from the first on.
const WRITE: [Type; 9] = [
    Type::BYTEA, // $1 handle
    Type::BOOL,  // $2 whether it is durable
    Type::BYTEA, // $3 the stamp that is expected
    Type::INT8,  // $4 when it is garbage
    Type::BYTEA, // $5 the new record
    Type::BYTEA, // $6 principal
    Type::INT8,  // $7 until when the entry counts
    Type::INT8,  // $8 now
    Type::INT8,  // $9 how many others there may be
];
const UNLISTED: usize = 5;
const LEFT: usize = 6;
const ENTERED: usize = 7;
const LIMITED: usize = 9;

/// What a durable write asks of `synchronous_commit`: not less than what the server is set to, and `on` at least.
macro_rules! durable {
    () => {
        "CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN 'on'
        ELSE current_setting('synchronous_commit') END"
    };
}
/// Where connections are ours alone they begin like this, so that only durable writes have to say what they are.
pub(super) const BEGIN: &str =
    concat!("SELECT set_config('sessions.durable', ", durable!(), ", false); SET synchronous_commit = off");
const OURS: &str = "CASE WHEN $2 THEN set_config('synchronous_commit', current_setting('sessions.durable'), true) END";
/// Where a pooler hands connections on, a write can rely on nothing but itself.
const POOLED: &str =
    concat!("set_config('synchronous_commit', CASE WHEN $2 THEN ", durable!(), " ELSE 'off' END, true)");
const RELAXED: &str = "set_config('synchronous_commit', 'off', true)";

/// Milliseconds since 1970 by the clock of the server, in the middle of a transaction too.
const CLOCK: &str = "extract(epoch FROM clock_timestamp()) * 1000";

const CREATE: &str = "INSERT INTO coatroom.session (handle, garbage_at, record)
    SELECT $1, $4, $5 WHERE true ROOM ON CONFLICT (handle) DO NOTHING RETURNING SYNC";
// The stamp is at a fixed place in every record; SQL counts bytes from 1.
const REPLACE: &str = "UPDATE coatroom.session SET garbage_at = $4, record = $5
    WHERE handle = $1 AND substr(record, 3, 16) = $3 ROOM RETURNING SYNC";
const REMOVE: &str =
    "DELETE FROM coatroom.session WHERE handle = $1 AND substr(record, 3, 16) = $3 ROOM RETURNING SYNC";
const ROOM: &str = "AND (SELECT count(*) FROM coatroom.listed
    WHERE principal = $6 AND until > $8 AND handle <> $1) < $9";

/// One way to change a record, and what may become of its entry.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) alone: Sql,
    /// As `alone` for what need not be durable, if the connection takes that for granted: a row that nobody reads has its
    /// price.
    pub(super) relaxed: Option<Sql>,
    pub(super) entering: Sql,
    /// As `entering`, while there is room.
    pub(super) entering_if_room: Sql,
    pub(super) leaving: Sql,
}

impl Change {
    fn new(schema: &str, pooled: bool, change: &str) -> Self {
        let sync = if pooled { POOLED } else { OURS };
        const { assert!(Stamp::AT == 2, "the statements above say where the stamp is") };
        let with = |room, whole: &dyn Fn(String) -> String, parameters| Sql {
            text: whole(change.replace("ROOM", room).replace("SYNC", sync)).replace("coatroom", schema),
            types: WRITE.get(..parameters).unwrap_or(&WRITE),
            then: None,
        };
        let enter = |swap| {
            format!(
                "WITH swapped AS ({swap}) INSERT INTO coatroom.listed (principal, handle, until)
                SELECT $6, $1, $7 FROM swapped
                ON CONFLICT (principal, handle) DO UPDATE SET until = excluded.until RETURNING xmax = 0"
            )
        };
        let leave = |swap| {
            format!(
                "WITH swapped AS ({swap}), gone AS (DELETE FROM coatroom.listed
                WHERE principal = $6 AND handle = $1 AND EXISTS (SELECT FROM swapped)) SELECT 1 FROM swapped"
            )
        };
        Self {
            alone: with("", &|swap| swap, UNLISTED),
            relaxed: (!pooled).then(|| with("", &|swap| swap.replace(&format!("RETURNING {sync}"), ""), UNLISTED)),
            entering: with("", &enter, ENTERED),
            entering_if_room: with(ROOM, &enter, LIMITED),
            leaving: with("", &leave, LEFT),
        }
    }
}

#[derive(Debug)]
pub(super) struct Statements {
    pub(super) load: Sql,
    pub(super) create: Change,
    pub(super) replace: Change,
    pub(super) remove: Change,
    pub(super) lock: Sql,
    pub(super) enter: Sql,
    pub(super) enter_if_room: Sql,
    pub(super) listed: Sql,
    pub(super) sessions: Sql,
    pub(super) leave: Sql,
    pub(super) bar: Sql,
    pub(super) scan: Sql,
    pub(super) sweep: Sql,
    pub(super) announce: Sql,
    pub(super) announced: Sql,
}

impl Statements {
    /// `schema` is quoted where it has to be.
    pub(super) fn new(schema: &str, pooled: bool) -> Self {
        let sync = if pooled { POOLED } else { OURS };
        let sql = |text: &str, types| Sql { text: text.replace("coatroom", schema), types, then: None };
        let enter = |room| {
            let text = format!(
                "INSERT INTO coatroom.listed (principal, handle, until) SELECT $6, $1, $7 WHERE true {room}
                ON CONFLICT (principal, handle) DO UPDATE SET until = excluded.until RETURNING xmax = 0, {sync}"
            );
            sql(&text, &WRITE)
        };
        Self {
            load: sql("SELECT record FROM coatroom.session WHERE handle = $1", &[Type::BYTEA]),
            create: Change::new(schema, pooled, CREATE),
            replace: Change::new(schema, pooled, REPLACE),
            remove: Change::new(schema, pooled, REMOVE),
            // Whoever shares this number without meaning the same principal merely waits a moment.
            lock: sql("SELECT pg_advisory_xact_lock(hashtextextended(encode($1, 'hex'), 0))", &[Type::BYTEA]),
            enter: enter(""),
            enter_if_room: enter(ROOM),
            listed: sql(
                &format!(
                    "SELECT coalesce((SELECT not_before FROM coatroom.barred WHERE principal = $1), 0),
                    (SELECT count(*) FROM coatroom.listed WHERE principal = $1 AND until > $2), floor({CLOCK})::bigint,
                    ARRAY(SELECT handle FROM coatroom.listed WHERE principal = $1 AND until > $2 AND handle <> $3
                    ORDER BY until LIMIT $4)"
                ),
                &[Type::BYTEA, Type::INT8, Type::BYTEA, Type::INT8],
            ),
            sessions: sql("SELECT handle FROM coatroom.listed WHERE principal = $1", &[Type::BYTEA]),
            leave: sql(
                &format!("DELETE FROM coatroom.listed WHERE principal = $6 AND handle = $1 RETURNING {sync}"),
                WRITE.get(..LEFT).unwrap_or(&WRITE),
            ),
            bar: sql(
                &format!(
                    "INSERT INTO coatroom.barred AS b (principal, not_before) VALUES ($6, ceil({CLOCK})::bigint)
                    ON CONFLICT (principal) DO UPDATE
                    SET not_before = greatest(b.not_before + 1, excluded.not_before) RETURNING {sync}"
                ),
                WRITE.get(..LEFT).unwrap_or(&WRITE),
            ),
            scan: sql(
                "SELECT handle FROM coatroom.session WHERE handle > $1 ORDER BY handle LIMIT $2",
                &[Type::BYTEA, Type::INT8],
            ),
            sweep: sql(&sweep(), &[Type::INT8, Type::INT8, Type::INT8, Type::INT8]),
            announce: Sql {
                then: Some(format!("SELECT {RELAXED}, pg_notify('{}', '')", schema.trim_matches('"'))),
                ..sql(
                    &format!(
                        "INSERT INTO coatroom.announced (forget_at, announcement) SELECT $4, $1
                        WHERE $3::bytea IS NULL RETURNING true, {sync}"
                    ),
                    WRITE.get(..4).unwrap_or(&WRITE),
                )
            },
            // A cursor beyond the last number is that of other tables, and leads to the beginning of these.
            announced: sql(
                "WITH last AS (SELECT coalesce(max(number), 0) AS number FROM coatroom.announced)
                SELECT a.number, a.announcement FROM coatroom.announced AS a, last
                WHERE a.number > CASE WHEN $1 > last.number THEN 0 ELSE $1 END ORDER BY a.number LIMIT $2",
                &[Type::INT8, Type::INT8],
            ),
        }
    }
}

/// Rows that somebody writes to at the moment are passed over: they are not waited for, and hardly garbage. What was locked
/// is still garbage when it is deleted, so the outer statement asks for nothing but the rows: the planner could mistake the
/// question for a better way to find them, and walk through all garbage for each batch.
// spec: STORE-7 250a
fn sweep() -> String {
    let delete = |table: &str, key: &str, time: &str, until: &str| {
        format!(
            "DELETE FROM coatroom.{table} WHERE {key} = ANY (ARRAY(SELECT {key} FROM coatroom.{table}
            WHERE {time} <= {until} ORDER BY {time} LIMIT $4 FOR UPDATE SKIP LOCKED))"
        )
    };
    let sessions = delete("session", "handle", "garbage_at", "$1");
    let entries = delete("listed", "ctid", "until", "$2");
    let bars = delete("barred", "ctid", "not_before", "$3");
    let said = delete("announced", "ctid", "forget_at", "$2");
    format!(
        "WITH sessions AS ({sessions} RETURNING 1), entries AS ({entries}), bars AS ({bars}), said AS ({said})
        SELECT count(*), {RELAXED} FROM sessions"
    )
}
