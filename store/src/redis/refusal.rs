//! What the errors of a server mean.

use redis::ServerError;

/// Whether the server says that it did nothing. What a script met on its way, and whatever is not known, is no refusal.
pub(super) fn is_refusal(error: &ServerError) -> bool {
    const BEFORE_ANYTHING: &str = "ASK BUSY CLUSTERDOWN CROSSSLOT DENIED LOADING MASTERDOWN MISCONF MOVED NOAUTH NOPERM \
                                   NOREPLICAS NOSCRIPT OOM READONLY TRYAGAIN";
    let from_within = error.details().is_some_and(|text| text.contains("@user_script"));
    !from_within && BEFORE_ANYTHING.split(' ').any(|code| code == error.code())
}

/// Whether another server should be asked under the same name: this one was a primary once, or is no use to this user.
pub(super) fn leads_astray(error: &ServerError) -> bool {
    ["READONLY", "MASTERDOWN", "NOAUTH"].contains(&error.code())
}
