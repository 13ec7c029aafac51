//! The tables: made and brought up to date by an explicit call, and checked on every new connection.

use core::fmt;
use core::time::Duration;

use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::connections::Dialler;
use super::settings::Settings;

/// What leads from each version to the next, from none on.
const STEPS: [&str; 3] =
    [include_str!("schema/1-sessions.sql"), include_str!("schema/2-principals.sql"), include_str!("schema/3-feed.sql")];
const VERSION: usize = STEPS.len();
/// Of all programs that make tables in this database, those of this kind queue here.
const LOCK: i64 = 0x636f_6174_726f_6f6d;
/// An index may have to be built. Larger tables are for whoever runs the statements by hand.
const PATIENCE: Duration = Duration::from_mins(10);

/// Why the tables cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum SchemaError {
    /// There are none, or they are of an older version: call [`super::Postgres::migrate`].
    Older,
    /// They were made by a newer version. They were not touched.
    Newer,
    /// The server cannot be reached.
    Unreachable(String),
    /// The server refused a statement. Nothing was changed.
    Refused(String),
}

impl SchemaError {
    pub(super) fn no_thread() -> Self {
        Self::Unreachable("no thread can be started for it".to_owned())
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Older => f.write_str("the tables of the store are missing or old: call `migrate` once"),
            Self::Newer => f.write_str("the tables of the store were made by a newer version: upgrade this one"),
            Self::Unreachable(why) => write!(f, "the server of the store cannot be reached: {why}"),
            Self::Refused(why) => write!(f, "the server of the store refused to make the tables: {why}"),
        }
    }
}

impl core::error::Error for SchemaError {}

/// Whether the tables are of this version.
pub(super) async fn check(client: &Client, schema: &str) -> Result<(), SchemaError> {
    match version(client, schema).await? {
        VERSION => Ok(()),
        version if version > VERSION => Err(SchemaError::Newer),
        _ => Err(SchemaError::Older),
    }
}

/// Makes the tables, or brings them up to date, in one transaction. Does nothing where there is nothing to do.
pub(super) async fn migrate(client: &Client, schema: &str) -> Result<(), SchemaError> {
    // The lock ends with the transaction, and the transaction with the connection.
    run(client, &format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK})")).await?;
    let version = version(client, schema).await?;
    if version > VERSION {
        return Err(SchemaError::Newer);
    }
    let exists = format!("SELECT to_regnamespace('{schema}') IS NOT NULL");
    if value(client, &exists).await?.as_deref() == Some("f") {
        run(client, &format!("CREATE SCHEMA {schema}")).await?;
    }
    for step in STEPS.iter().skip(version) {
        run(client, &step.replace("coatroom", schema)).await?;
    }
    run(client, "COMMIT").await
}

/// Whether the tables can be used, from a connection of its own.
pub(super) async fn checked(dialler: &Dialler, settings: &Settings) -> Result<(), SchemaError> {
    let checking = async {
        let (client, _) = dialler.dial(settings.server.clone()).await.map_err(|error| unreachable(&error))?;
        check(&client, &settings.quoted_schema()).await
    };
    dialler.within(settings.time_limit, checking).await.unwrap_or_else(too_slow)
}

pub(super) async fn migrated(dialler: &Dialler, settings: &Settings) -> Result<(), SchemaError> {
    let dialling = dialler.within(settings.time_limit, dialler.dial(settings.server.clone())).await;
    let (client, _) = dialling.map_or_else(too_slow, |dialled| dialled.map_err(|error| unreachable(&error)))?;
    dialler.within(PATIENCE, migrate(&client, &settings.quoted_schema())).await.unwrap_or_else(too_slow)
}

/// 0 where there are no tables.
async fn version(client: &Client, schema: &str) -> Result<usize, SchemaError> {
    let exists = format!("SELECT to_regclass('{schema}.version') IS NOT NULL");
    if value(client, &exists).await?.as_deref() == Some("f") {
        return Ok(0);
    }
    let version = value(client, &format!("SELECT version FROM {schema}.version")).await?;
    version.and_then(|version| version.parse().ok()).ok_or(SchemaError::Newer)
}

/// Statements as they are, with nothing prepared, so that a pooler may be in between.
async fn value(client: &Client, sql: &str) -> Result<Option<String>, SchemaError> {
    let messages = client.simple_query(sql).await.map_err(|error| refused(&error))?;
    Ok(messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
        _ => None,
    }))
}

async fn run(client: &Client, sql: &str) -> Result<(), SchemaError> {
    client.batch_execute(sql).await.map_err(|error| refused(&error))
}

fn refused(error: &Error) -> SchemaError {
    error.as_db_error().map_or_else(|| unreachable(error), |error| SchemaError::Refused(error.message().to_owned()))
}

fn unreachable(error: &Error) -> SchemaError {
    let cause = core::error::Error::source(error);
    SchemaError::Unreachable(cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")))
}

fn too_slow<T>() -> Result<T, SchemaError> {
    Err(SchemaError::Unreachable("it did not answer in time".to_owned()))
}
