//! Hearing of announcements as they are published. A Cluster carries them to all of its nodes, and a primary to its replicas, so
//! whoever is reached will do.

use core::future::Future;

use redis::RedisError;
use tokio::sync::oneshot::{Receiver, channel};
use tokio::time::timeout;

use super::settings::Layout;
use super::wire::{Dialer, Users, Wire};
use crate::listening::SILENCE;

/// Listens to what is published under a name, for as long as a connection lasts.
pub(super) async fn hear(dialer: &Dialer, name: &[u8]) {
    let Layout::Cluster(nodes) = &dialer.settings.layout else {
        let (users, is_over) = end();
        hear_on(dialer, name, dialer.primary(users), is_over).await;
        return;
    };
    for node in nodes {
        let (users, is_over) = end();
        if hear_on(dialer, name, dialer.address(node, users), is_over).await {
            return;
        }
    }
}

/// Whom a connection tells that it is over, and where that is heard.
fn end() -> (Users, Receiver<()>) {
    let (tell, is_over) = channel();
    (Users::All(Box::new(move |_| _ = tell.send(()))), is_over)
}

/// Says whether it ever listened.
// spec: FEED-6 f2f5
async fn hear_on(
    dialer: &Dialer,
    name: &[u8],
    dialing: impl Future<Output = Result<Wire, RedisError>> + Send,
    mut is_over: Receiver<()>,
) -> bool {
    let limit = dialer.settings.time_limit;
    let Ok(Ok(wire)) = timeout(limit, dialing).await else { return false };
    let wire = CutAtEnd(wire);
    if !matches!(timeout(limit, wire.0.subscribe(name)).await, Ok(Ok(()))) {
        return false;
    }
    // What was published while nobody listened is there to be asked for.
    dialer.nudge();
    while timeout(SILENCE, &mut is_over).await.is_err() {
        if !matches!(timeout(limit, wire.0.ask(&redis::cmd("PING"))).await, Ok(Ok(_))) {
            break;
        }
    }
    true
}

/// Nobody else uses it.
struct CutAtEnd(Wire);

impl Drop for CutAtEnd {
    fn drop(&mut self) {
        self.0.cut().now();
    }
}
