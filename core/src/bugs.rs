//! Defects planted on purpose, to show that the checkers in `tests/` find them. A build has them only under
//! `--cfg coatroom_bugs`; in every other build `planted` is the constant `false` and nothing of them is left.

macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A defect that a test can switch on.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[cfg_attr(not(coatroom_bugs), expect(dead_code, reason = "some are planted in the stores"))]
        pub enum Bug {
            $($(#[$doc])* $name,)*
        }

        #[cfg(coatroom_bugs)]
        impl Bug {
            /// All of them.
            pub const ALL: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name),*];
        }
    };
}

bugs! {
    /// Login keeps the id that the client had before.
    KeepOldId,
    /// Ids from before the login are judged as if there were no floor.
    NoFloorCheck,
    /// An id from before the login counts as reuse, so a planter can end the victim's session.
    FloorReacts,
    /// A login is opened by the visitor cookie, and the other way round.
    KindUnchecked,
    /// Visitors and logins share one cookie.
    OneCookie,
    /// Of a cookie that comes twice, the last one counts.
    DoubledNameCounts,
    /// An id counts without a genuine tag, and random cookies reach the store.
    TagUnchecked,
    /// A comparison of secrets stops at the first byte that differs.
    EarlyExitCompare,
    /// Any secret opens the session of its handle.
    DigestUnchecked,
    /// An id that was never issued ends the session.
    ForgedEnds,
    /// The store holds the secret in place of its digest.
    SecretStored,
    /// Scripts can read the cookies.
    HttpOnlyDropped,
    /// Responses of a session may be kept by shared caches.
    CacheHintsDropped,
    /// The cookie of an expired session is cleared.
    ExpiryClearsCookie,
    /// The cookie of a replaced id is cleared, which may be the newer one by then.
    StaleCookieCleared,
    /// A write by a replaced login id goes to a fresh visitor session.
    SupersededStartsAfresh,
    /// A login does not move the absolute limit.
    LoginKeepsDeadline,
    /// An elevation moves the absolute limit.
    ElevateMovesDeadline,
    /// All anonymous data survives a login, whatever the policy says.
    CarryIgnored,
    /// A login that had to start afresh takes along what was set before it.
    FreshLoginInherits,
    /// A login as somebody else goes on with the session of the one before.
    PrincipalReplacedInPlace,
    /// The grace of a replaced id outlasts the session's absolute limit.
    GraceBeyondDeadline,
    /// The grace of a replaced id never ends.
    GraceForever,
    /// A rotation moves the absolute limit.
    RotationMovesDeadline,
    /// A rotation replaces an id that is already being replaced.
    RotateTwice,
    /// A rotation follows the last one at once.
    RotateWithoutRest,
    /// An id rotates that was not confirmed when the exchange was opened.
    RotateUnconfirmed,
    /// Visitors' ids rotate.
    VisitorsRotated,
    /// Once the new id is confirmed, the old one can still derive it.
    NonceKept,
    /// A rotation is answered again however long the exchange took.
    AnswerLate,
    /// A replaced id that was refused stays in the record.
    PreviousKept,
    /// Whether a refused id is past its grace is asked of the record alone, not of the reading that found it so.
    ForgottenByTheRecord,
    /// A logout by a replaced id in grace leaves its successor alone.
    LogoutSparesSuccessor,
    /// A logout ends the session that somebody else logged in to since.
    LogoutCrossesPrincipals,
    /// A logout that was refused looks like one that was done.
    LogoutPretends,
    /// A copied id is refused and nothing more.
    ReuseIgnored,
    /// A limit passes a millisecond late.
    LimitLate,
    /// A limit that passed is not written down.
    ExpiryForgotten,
    /// What a dead id calls for is dropped when the exchange is refused.
    ReactionDropped,
    /// A limit that passed by a record read long ago ends the session, whatever happened since.
    StaleExpiry,
    /// A commit is judged by the time at which its exchange was opened.
    CommitByOpening,
    /// A record from the future is used.
    SkewIgnored,
    /// A session whose first id is never presented lives on.
    ActivationIgnored,
    /// Presence does not count as use.
    TouchForgotten,
    /// Presence moves the absolute limit.
    TouchMovesDeadline,
    /// A live session counts as garbage.
    SweptEarly,
    /// A write of unknown outcome is repeated without asking whether it took place.
    BlindRepeat,
    /// A record remembers one commit instead of four.
    OneCommitKept,
    /// All attempts of one exchange leave the same stamp.
    CommitIdReused,
    /// A create that was refused or unknown is tried again under its handle.
    CreateAgain,
    /// On a conflict the data is written back as it was read.
    WriteBackWhole,
    /// Strict exchanges merge.
    StrictIgnored,
    /// After a conflict an update stands as it was computed.
    UpdateNotRerun,
    /// A sum that is too large wraps around.
    AddWraps,
    /// A record may have any size.
    SizeUnchecked,
    /// Stores compare the version alone.
    VersionOnly,
    /// The version of a record wraps around.
    VersionWraps,
    /// A record of a newer format reads as absent.
    NewerIsAbsent,
    /// A store that does not answer reads as absent.
    UnavailableIsAbsent,
    /// A login or rotation is acknowledged before it is safe.
    IdsNotDurable,
    /// An ending is acknowledged before it is safe.
    EndingNotDurable,
    /// The end that a passed limit calls for is written over a login that came first.
    ExpiryEndsNewerLogin,
    /// A commit is written although its turn is gone.
    LeaseUnchecked,
    /// Data is written during the turn of another.
    LeaseIgnored,
    /// A turn is taken over before its time is over.
    LeaseTakenOver,
    /// A turn that is done is not given back.
    LeaseKept,
    /// The time of a turn is never over.
    LeaseForever,
    /// Data written after the time of a turn leaves its holder the turn.
    SpentLeaseKept,
    /// An ending waits for the turn of another.
    EndingWaits,
    /// A rotation ends the turn of another.
    RotationDropsLease,
    /// A login leaves a turn to one whose id it did away with.
    LoginKeepsLease,
    /// An exchange that is refused does not give back its turn.
    RefusalKeepsLease,
    /// All exchanges take their turns under one token.
    TokenShared,
    /// A policy that does not seal takes what is sealed for absent.
    SealedRefused,
    /// Every record that an exchange seals has the same nonce.
    NonceReused,
    /// What was sealed for one session opens in another.
    HandleUnbound,
    /// What was sealed before a login opens after it.
    FloorUnbound,
    /// A record without data is not sealed.
    EmptyUnsealed,
    /// A record that is not sealed counts although it has to be.
    UnsealedAccepted,
    /// The last key of the ring seals.
    LastKeySeals,
    /// Numbers are read in longer forms than the shortest.
    LooseCbor,
    /// A login does not ask whether all sessions of its principal were revoked meanwhile.
    RevocationUnread,
    /// A revocation bars the logins that were opened after it, and no others.
    LaterLoginsBarred,
    /// A login is barred by the revocation that its own exchange asked for.
    OwnRevocationBars,
    /// A login whose swap is recognised only later is not entered into the index.
    RecognisedUnentered,
    /// A session is ended by its handle, whosever it is.
    RevokedByAnybody,
    /// A login may have been under way for longer than the moment of a revocation is kept.
    LongLoginsPass,
    /// A principal's new name is not entered into the index.
    NewNameUnlisted,
    /// A list of devices shows sessions that are over.
    DevicesShowWhatIsOver,
    /// All sessions are listed first, and the moment of their revocation is written then.
    ListBeforeMoment,
    /// Where the index is apart, a login is told before its entry stands.
    ToldBeforeEntered,
    /// An entry goes because its record is absent, though the record may be yet to come.
    AbsentIsGone,
    /// An entry goes because its record is not one of the principal's.
    AnotherIsGone,
    /// The entry goes before the session ends.
    LeavesBeforeItEnds,
    /// Of too many sessions, the one that just logged in ends.
    NewcomerEvicted,
    /// Logins that race beyond a limit end each other.
    RacersEvictEachOther,
    /// What a login left whose answer was lost stays listed.
    LostLoginStays,
    /// Sessions that are over count towards the limit until somebody ends them.
    OverTakesPlace,
    /// A login counts itself when it looks for a place.
    LimitCountsItself,
    /// A copied id ends one session, though the policy says all.
    ReuseSparesOthers,
    /// Two revocations may have the same moment.
    MomentsRepeat,
    /// What was sealed for the cookie of one session opens beside the id of another.
    CoatUnbound,
    /// Of a session in a cookie, no limit is looked at.
    CoatOutlivesLimits,
    /// A cookie may have any size.
    CookieSizeUnchecked,
    /// A session in a cookie is used without asking the deny list.
    ListUnasked,
    /// The end of a session in a cookie is told to nobody.
    EndingUnlisted,
    /// The deny list forgets an end while a cookie from before still opens.
    ListForgetsEarly,
    /// A login goes on in the cookie that a visitor brought, under its handle.
    LoginKeepsCoat,
    /// A token may be longer than the limit.
    LongTokensRead,
    /// Of a claim that comes twice, the last one counts.
    DuplicateClaimsRead,
    /// A token chooses the algorithm that it is checked under.
    AlgorithmFromToken,
    /// A token of another type counts.
    TypeUnchecked,
    /// What a header asks for besides is passed over.
    HeaderMembersIgnored,
    /// Any signature counts.
    SignatureUnchecked,
    /// A token of another issuer counts.
    IssuerUnchecked,
    /// A token made for others counts.
    AudienceUnchecked,
    /// An expired token counts.
    ExpiryUnchecked,
    /// A token counts before its time.
    EarlyTokensCount,
    /// A token expires when its lifetime is over, whatever the limits of its session.
    TokenOutlivesSession,
    /// A verifier does not look up what has ended.
    RevocationsUnread,
    /// A token issued in the second in which its session ended counts.
    SameSecondPasses,
    /// A verifier that never heard of any ending takes itself for up to date.
    NeverHeardIsFresh,
    /// An ending is not announced to verifiers.
    EndingUnannounced,
    /// An ending is announced only after it took place.
    AnnouncedAfter,
    /// An ending that took long is announced as of its beginning.
    SlowEndingNotRenewed,
    /// What another exchange of the process left counts, although the store has shown a later state since.
    OldNews,
}

#[cfg(coatroom_bugs)]
mod switch {
    extern crate std;

    use super::Bug;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Once;

    static PLANTED: AtomicUsize = AtomicUsize::new(0);
    static ENVIRONMENT: Once = Once::new();

    /// Switches one defect on and every other off, for the whole process.
    pub fn plant(bug: Option<Bug>) {
        ENVIRONMENT.call_once(|| ());
        store(bug);
    }

    fn store(bug: Option<Bug>) {
        let number = bug.and_then(|bug| Bug::ALL.iter().position(|other| *other == bug));
        PLANTED.store(number.map_or(0, |number| number.saturating_add(1)), Ordering::SeqCst);
    }

    /// A defect is also planted by its name in `COATROOM_BUG`, so that any test can be run with it.
    pub fn planted(bug: Bug) -> bool {
        ENVIRONMENT.call_once(|| {
            let name = std::env::var("COATROOM_BUG").unwrap_or_default();
            store(Bug::ALL.into_iter().find(|bug| std::format!("{bug:?}") == name));
        });
        let number = PLANTED.load(Ordering::Relaxed).checked_sub(1);
        number.and_then(|number| Bug::ALL.get(number)) == Some(&bug)
    }
}

#[cfg(coatroom_bugs)]
pub use switch::{plant, planted};

#[cfg(not(coatroom_bugs))]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}
