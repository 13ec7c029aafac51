//! Nobody looks: a call of the store is that call.

use core::future::Future;
#[cfg(feature = "redis")]
use core::time::Duration;

use coatroom_core::Handle;

use super::{Call, Calls};

#[expect(clippy::unused_self, reason = "nobody looks")]
impl<S, H> Calls<'_, S, H> {
    #[inline]
    pub(super) fn watched<F: Future + Send>(self, _: Call, _: Option<Handle>, ask: impl FnOnce() -> F) -> F {
        ask()
    }

    #[cfg(feature = "redis")]
    #[inline]
    pub(crate) const fn clock(self) -> Duration {
        Duration::ZERO
    }

    #[cfg(feature = "redis")]
    #[inline]
    pub(crate) const fn told<T>(self, _: Call, _: Option<Handle>, _: &T, _started: Duration) {}

    #[inline]
    pub(super) fn watched_now<T>(self, _: Call, _: Option<Handle>, ask: impl FnOnce() -> T) -> T {
        ask()
    }
}
