"""Where the sessions of the shared server live, and which tests of the contract do not apply there, with the reason.

Such a test runs all the same and has to fail: what a cookie cannot keep is shown, and a reason that is no longer true
is noticed.
"""

from __future__ import annotations

PLACES = ("store", "cookie", "cookie+deny")

_CARRIES_ITSELF = "the session is in the cookie, so each write sets it, and so does the first presentation of an id"
_OTHER_PLACE = "the server beside the shared one keeps sessions in its store, where such a cookie is no id"
_OVERLAP = "of requests that overlap, the response that comes last wins whole"
_REPLAY = "without a deny list an old cookie opens until its limits pass"
_NOT_REFUSED = "a write under way does not ask the list again: it is answered, with a cookie that the list bars"
_UNLISTED = "without a deny list nobody knows the sessions of a user"

_BOTH = {
    "test_reading_and_writing_with_a_known_id_set_no_cookie": _CARRIES_ITSELF,
    "test_200_concurrent_adds_count_200": _OVERLAP,
    "test_concurrent_writes_to_different_keys_all_survive": _OVERLAP,
    "test_a_write_in_flight_does_not_undo_a_logout": _NOT_REFUSED,
    "test_a_write_in_flight_does_not_reach_past_a_login": _NOT_REFUSED,
    "test_only_a_genuine_id_reaches_the_store": _OTHER_PLACE,
    "test_a_store_outage_is_a_503_that_leaves_the_cookie_alone": _OTHER_PLACE,
}

DOES_NOT_APPLY: dict[str, dict[str, str]] = {
    "store": {},
    "cookie+deny": _BOTH,
    "cookie": _BOTH
    | {
        "test_the_old_visitor_cookie_is_dead_after_login": _REPLAY,
        "test_the_login_cookie_is_dead_after_logout": _REPLAY,
        "test_logging_in_as_someone_else_inherits_nothing": _REPLAY,
        "test_logging_in_again_as_the_same_user_changes_the_id_and_keeps_the_data": _REPLAY,
        "test_sessions_lists_the_logins_of_one_user_and_no_others": _UNLISTED,
        "test_logout_others_leaves_this_session_alone": _UNLISTED,
        "test_logout_all_ends_every_session_of_the_user": _UNLISTED,
    },
}
