//! Hearing of announcements by LISTEN, on a connection that is for nothing else.

use core::future::poll_fn;
use core::task::{Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Connection};

use super::connections::Dialler;
use super::settings::Settings;
use crate::Nudge;
use crate::listening::SILENCE;

/// Listens under the name of the schema, for as long as a connection lasts.
// spec: FEED-6 f2f5
pub(super) async fn hear(dialler: &Dialler, settings: &Settings, nudge: &Nudge) {
    let limit = settings.time_limit;
    let dialling = dialler.listen(&settings.server, nudge.clone());
    // The connection ends with its client.
    let Ok(Ok((client, mut reading))) = timeout(limit, dialling).await else { return };
    let asking = async {
        let listen = format!("LISTEN {}", settings.quoted_schema());
        if !matches!(timeout(limit, client.batch_execute(&listen)).await, Ok(Ok(()))) {
            return;
        }
        // What was said while nobody listened is there to be asked for.
        nudge();
        loop {
            sleep(SILENCE).await;
            if !matches!(timeout(limit, client.batch_execute("")).await, Ok(Ok(()))) {
                return;
            }
        }
    };
    tokio::select! {
        _ = &mut reading => {}
        () = asking => {}
    }
}

/// Serves a connection, and tells of each notification where it is read, so that none piles up.
pub(super) async fn read<S, T>(mut connection: Connection<S, T>, nudge: Nudge)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|context| {
        loop {
            match ready!(connection.poll_message(context)) {
                Some(Ok(AsyncMessage::Notification(_))) => nudge(),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(()),
            }
        }
    })
    .await;
}
