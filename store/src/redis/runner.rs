//! What serves connections: a tokio runtime, or the event loop of an application.

use core::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot::channel;
use tokio::task::AbortHandle;

use crate::reactor::{LoopHandle, Task, current};

/// Whoever polls a connection, and those who wait for its answers.
#[derive(Clone)]
pub(super) enum Runner {
    Tokio(Handle),
    Loop(LoopHandle),
}

impl Runner {
    /// The event loop whose turn this thread does, or the runtime that it is in.
    pub(super) fn here() -> Option<Self> {
        current().map(Self::Loop).or_else(|| Handle::try_current().ok().map(Self::Tokio))
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tokio(one), Self::Tokio(other)) => one.id() == other.id(),
            (Self::Loop(one), Self::Loop(other)) => one.is(other),
            _ => false,
        }
    }

    /// Whether it is the event loop whose turn this thread does.
    pub(super) fn is_this_loop(&self) -> bool {
        matches!(self, Self::Loop(home) if home.is_here())
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Cut {
        match self {
            Self::Tokio(runtime) => Cut::Tokio(runtime.spawn(work).abort_handle()),
            Self::Loop(home) => Cut::Loop(home.spawn(work)),
        }
    }

    /// What work comes to that goes on also when nobody waits for it; none if it was dropped.
    pub(super) async fn result_of<T>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T>
    where
        T: Send + 'static,
    {
        let (tell, told) = channel();
        drop(self.spawn(async move {
            let _somebody_waits = tell.send(work.await);
        }));
        told.await.ok()
    }
}

/// Ends work.
#[derive(Clone)]
pub(super) enum Cut {
    /// Nobody does it but who asks.
    Nothing,
    Tokio(AbortHandle),
    Loop(Arc<Task>),
}

impl Cut {
    pub(super) fn now(&self) {
        match self {
            Self::Nothing => {}
            Self::Tokio(task) => task.abort(),
            Self::Loop(task) => task.cut(),
        }
    }
}
