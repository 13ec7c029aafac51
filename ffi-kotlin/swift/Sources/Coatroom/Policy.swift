import Foundation

internal import CoatroomBorder

/// Every limit and choice. What is nil keeps its safe default, which ``Sessions`` shares with the other languages.
public struct Policy: Sendable {
    /// A limit that can be switched off.
    public enum Limit: Sendable {
        /// So long.
        case after(Duration)
        /// Never.
        case off
    }

    /// The levels of NIST SP 800-63B-4.
    public enum Preset: String, Sendable {
        /// 30 days, no idle limit.
        case aal1
        /// 24 hours, one hour idle.
        case aal2
        /// 12 hours, 15 minutes idle.
        case aal3
    }

    /// What anonymous data survives a login.
    public enum Carry: Sendable {
        /// All of it.
        case all
        /// None of it.
        case nothing
        /// These keys.
        case keys([String])
    }

    /// What the reuse of a replaced id leads to.
    public enum Reuse: String, Sendable {
        /// The session ends.
        case destroy
        /// All sessions of the principal end.
        case revokeAll = "revoke-all"
        /// It is refused and nothing more: whoever copied an id keeps what the copy gave them.
        case dangerRefuseOnly = "danger-refuse-only"
    }

    /// How exchanges that overlap are brought together.
    public enum Concurrency: String, Sendable {
        /// Changes of different keys all survive.
        case merge
        /// A commit is refused if a key that the exchange read or set was changed by another.
        case strict
        /// One at a time, for unsafe methods.
        case serial
    }

    /// What gives way when a principal logs in once more than allowed.
    public enum Beyond: String, Sendable {
        /// The new login.
        case refuse
        /// The session that was created first.
        case evictOldest = "evict-oldest"
        /// The session that was not used for longest.
        case evictIdlest = "evict-idlest"
    }

    /// The `SameSite` attribute of both cookies.
    public enum SameSite: String, Sendable {
        /// Sent on navigation from elsewhere.
        case lax
        /// Never sent from elsewhere.
        case strict
        /// Always sent.
        case none
    }

    /// Where to start from.
    public var preset: Preset?
    /// A session ends when it was not used for this long: 30 minutes.
    public var idle: Limit?
    /// How seldom the last use is written.
    public var touch: Duration?
    /// A session ends this long after its login or creation: 12 hours.
    public var absolute: Duration?
    /// A session whose first id is not presented within this time dies: off.
    public var activation: Limit?
    /// How far the clocks of the nodes may differ: 5 seconds.
    public var skew: Duration?
    /// The id of a login is replaced after this time of use: 15 minutes.
    public var rotateEvery: Limit?
    /// How long a replaced id still works: 30 seconds.
    public var grace: Duration?
    /// How long an exchange of serial mode has its turn.
    public var lease: Duration?
    /// How long an ended record remembers why: an hour.
    public var tombstone: Duration?
    /// Bytes that a record may have: 65,536.
    public var size: Int?
    /// Whether what is stored is encrypted under the keys of the ring.
    public var sealed: Bool?
    /// What anonymous data survives a login: all.
    public var carry: Carry?
    /// What the reuse of a replaced id leads to: the end of the session.
    public var reuse: Reuse?
    /// How exchanges that overlap are brought together: merge.
    public var concurrency: Concurrency?
    /// How many sessions one principal may have, and what gives way.
    public var limit: (sessions: UInt32, beyond: Beyond)?
    /// Name of the login cookie: `__Host-id`.
    public var loginCookie: String?
    /// Name of the visitor cookie: `__Host-visitor`.
    public var visitorCookie: String?
    /// Path of both cookies.
    public var path: String?
    /// Domain of both cookies.
    public var domain: String?
    /// `SameSite` of both cookies: lax.
    public var sameSite: SameSite?
    /// How long a browser keeps the cookies: until it ends.
    public var maxAge: Duration?
    /// Cookies without `Secure` and without name prefix, for development over plain http alone.
    public var dangerPlainHTTP = false

    /// The defaults.
    public init() {}

    /// As it crosses the border.
    var parts: CoatroomBorder.Policy {
        var (word, keys): (String?, [String]) = (nil, [])
        switch carry {
        case .all: word = "all"
        case .nothing: word = "none"
        case .keys(let named): (word, keys) = ("keys", named)
        case nil: break
        }
        return CoatroomBorder.Policy(
            preset: preset?.rawValue, idle: idle?.ms, touch: touch?.ms, absolute: absolute?.ms,
            activation: activation?.ms, skew: skew?.ms, rotateEvery: rotateEvery?.ms, grace: grace?.ms,
            lease: lease?.ms, tombstone: tombstone?.ms, size: size.map(Int64.init), sealed: sealed, carry: word,
            carryKeys: keys, reuse: reuse?.rawValue, concurrency: concurrency?.rawValue, limit: limit?.sessions,
            beyond: limit?.beyond.rawValue, loginCookie: loginCookie, visitorCookie: visitorCookie, path: path,
            domain: domain, sameSite: sameSite?.rawValue, maxAge: maxAge?.ms, dangerPlainHttp: dangerPlainHTTP)
    }
}

extension Policy.Limit {
    fileprivate var ms: Int64 {
        switch self {
        case .after(let span): span.ms
        case .off: 0
        }
    }
}

extension Duration {
    /// Whole milliseconds.
    var ms: Int64 {
        let (seconds, attoseconds) = components
        return seconds.multipliedReportingOverflow(by: 1000).partialValue + attoseconds / 1_000_000_000_000_000
    }
}

extension Date {
    /// Of milliseconds since the Unix epoch.
    init(ms: Int64) {
        self.init(timeIntervalSince1970: Double(ms) / 1000)
    }
}
