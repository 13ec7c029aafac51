import Foundation

internal import CoatroomBorder

/// Makes access tokens from logins, for one audience: JWTs of five minutes that tell services without the session store
/// who calls them. Share one between all requests.
///
/// ```swift
/// let issuer = try Issuer("https://shop.example", audience: "orders", keys: tokenKeys)
/// let token = try issuer.issue(session)
/// ```
public final class Issuer: Sendable {
    private let border: CoatroomBorder.Issuer

    /// An issuer of this name.
    ///
    /// - Parameters:
    ///   - keys: a list `name:EdDSA:base64url,...` of 32 random bytes each, parted by commas or line ends; the first one
    ///     signs and all of them are published. ``newKey(_:_:)`` makes an entry. To change keys without refusing a live
    ///     token: put the new one last everywhere, then first, and remove the old one after a token's lifetime. With
    ///     `HS256` in place of `EdDSA` verifiers hold the same secret, and can make tokens too.
    ///   - lifetime: from one second to an hour; a token never lives longer than its session. Verifiers have to be told
    ///     of another lifetime than five minutes.
    public init(_ issuer: String, audience: String, keys: String, lifetime: Duration = .seconds(300)) throws {
        border = try bordered {
            try CoatroomBorder.Issuer(issuer: issuer, audience: audience, keys: keys, lifetimeMs: lifetime.ms)
        }
    }

    /// The public keys as a JSON Web Key Set, for anybody to keep for five minutes; empty for `HS256`, whose keys are
    /// secret. A new key is to be published for longer than that before it signs.
    public var jwks: String { border.jwks() }

    /// How it signs.
    public var algorithm: Algorithm { Algorithm(rawValue: border.algorithm()) ?? .edDSA }

    /// A token for the login that this request came with. Asks no store. Throws ``SessionError`` of the code
    /// `unauthenticated` when nobody is logged in or the session is over, and `not-issued` in the request that logs in,
    /// whose login is not stored yet.
    // spec: TOKEN-1 6e31, TOKEN-2 9702, TOKEN-3 c1a8
    public func issue(_ session: Session) throws -> Token {
        Token(try session.exchanging { exchange in try bordered { try border.issue(exchange: exchange) } })
    }

    /// A fresh entry for `keys`. Names are of letters, digits, `-`, `_` and `.`; a month is a good one.
    public static func newKey(_ name: String, _ algorithm: Algorithm = .edDSA) throws -> String {
        "\(name):\(algorithm.rawValue):\(try freshKey())"
    }

    /// How tokens are signed.
    public enum Algorithm: String, Sendable {
        /// Ed25519: verifiers hold public keys alone.
        case edDSA = "EdDSA"
        /// HMAC with SHA-256: whoever verifies can issue.
        case hs256 = "HS256"
    }
}

/// A token for a client, who sends it as `Authorization: Bearer TEXT`. Printing this does not print it.
public struct Token: Sendable, CustomStringConvertible, CustomReflectable {
    /// The token itself: three parts of base64url, at most 4,096 bytes.
    public let text: String
    /// When it expires; whole seconds.
    public let expiresAt: Date
    /// For how long it lives, from the moment at which its session was opened.
    public let lifetime: Duration

    init(_ parts: Issued) {
        (text, expiresAt) = (parts.text, Date(ms: parts.expiresAtMs))
        lifetime = .milliseconds(parts.lifetimeMs)
    }

    /// The answer to `POST /token`, in the form of RFC 6749 section 5.1; `Cache-Control: no-store` goes with it.
    public var json: String {
        #"{"access_token": "\#(text)", "token_type": "Bearer", "expires_in": \#(lifetime.components.seconds)}"#
    }

    /// Without the token.
    public var description: String { "Token(until \(expiresAt))" }

    /// Without the token.
    public var customMirror: Mirror { Mirror(self, children: ["expiresAt": expiresAt]) }
}

/// What a verifier checks signatures with, and so under which algorithm.
public struct VerifierKeys: Sendable {
    let parts: TokenKeys

    /// The issuer's key set, from a place that you chose.
    public static func `public`(jwks: String) -> VerifierKeys {
        VerifierKeys(parts: .public(jwks: Data(jwks.utf8)))
    }

    /// The issuer's own entries, where those are `HS256`. Private keys of another kind are refused.
    public static func shared(_ keys: String) -> VerifierKeys {
        VerifierKeys(parts: .shared(keys: keys))
    }
}

/// Judges tokens of one issuer for one audience, without asking anybody. Share one between all requests.
public final class Verifier: Sendable {
    private let border: Locked<CoatroomBorder.Verifier>
    /// Held: what nobody holds pulls no more.
    private let revocations: Revocations?

    /// A verifier for these names.
    ///
    /// - Parameters:
    ///   - lifetime: that of the issuer.
    ///   - leeway: how far clocks may differ, a minute at most.
    ///   - revocations: tokens of ended sessions are refused: of all that had ended `within` ago, at the latest.
    ///   - late: when it could not hear for longer than that: refuse all tokens, or accept and say so in
    ///     ``Claims/heard``.
    ///   - clock: for tests alone.
    public init(
        _ issuer: String, audience: String, keys: VerifierKeys, lifetime: Duration = .seconds(300),
        leeway: Duration = .seconds(5), revocations: Revocations? = nil, within: Duration = .seconds(10),
        late: Late = .refuse, clock: ManualClock? = nil
    ) throws {
        let made = try bordered {
            let made = try CoatroomBorder.Verifier(
                issuer: issuer, audience: audience, keys: keys.parts, lifetimeMs: lifetime.ms, leewayMs: leeway.ms,
                clock: clock?.border)
            guard let revocations else { return made }
            return try made.withRevocations(
                revocations: revocations.border, withinMs: within.ms, accepts: late == .accept)
        }
        (border, self.revocations) = (Locked(made), revocations)
    }

    /// What a token states, if it counts now; throws ``TokenError`` otherwise. No text makes it fail in another way, or
    /// holds it up.
    // spec: TOKEN-4 0830, TOKEN-10 2a12, TOKEN-11 f067, TOKEN-12 c154
    public func verify(_ token: String) throws -> Claims {
        try verify(Data(token.utf8))
    }

    /// The same of bytes as they came.
    public func verify(_ token: Data) throws -> Claims {
        switch border.with({ $0 }).verify(token: token) {
        case .valid(let claims): return Claims(claims)
        case .refused(let reason, let message, let status):
            throw TokenError(TokenError.Reason(rawValue: reason), message, Int(status))
        }
    }

    /// As ``verify(_:)-(String)``, of the value of an Authorization header.
    public func verify(authorization: String?) throws -> Claims {
        let parts = (authorization ?? "").split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.first?.lowercased() == "bearer" else {
            throw TokenError(
                .missing, "the request carries no access token: send it as `Authorization: Bearer`", 401)
        }
        return try verify(parts.count > 1 ? parts[1].trimmingCharacters(in: CharacterSet(charactersIn: " ")) : "")
    }

    /// Takes other keys from now on, such as a key set that was fetched again. Nothing changes if those are none.
    public func setKeys(_ keys: VerifierKeys) throws {
        try border.with { border in border = try bordered { try border.withKeys(keys: keys.parts) } }
    }

    /// What a verifier does while it has not heard for too long what has ended.
    public enum Late: Sendable {
        /// It refuses all tokens.
        case refuse
        /// It accepts them and says so in ``Claims/heard``.
        case accept
    }
}

/// An access token does not count. The ``message`` says what to do, and nothing of the token.
public struct TokenError: Error, Sendable, Equatable, LocalizedError {
    /// Why, for logs; the same in every language.
    public let reason: Reason
    /// What happened and what to do, for people.
    public let message: String
    /// The HTTP status to answer with: 401, or 503 when it is not the token that is wrong.
    public let status: Int

    /// A stable name.
    public struct Reason: RawRepresentable, Hashable, Sendable {
        /// As logs and other languages have it.
        public let rawValue: String

        /// A reason by its name.
        public init(rawValue: String) {
            self.rawValue = rawValue
        }

        /// The request carries no access token.
        public static let missing = Reason(rawValue: "missing")
        /// Its time is over: its session gets a new one.
        public static let expired = Reason(rawValue: "expired")
        /// Its session has ended, or all of its principal were revoked.
        public static let revoked = Reason(rawValue: "revoked")
        /// It names no key of this verifier: fetch the issuer's key set again, at most once a minute.
        public static let unknownKey = Reason(rawValue: "unknown key")
        /// The verifier has not heard for too long which sessions have ended, so no access token counts (503).
        public static let stale = Reason(rawValue: "stale")
    }

    /// The value of `WWW-Authenticate` (RFC 6750 section 3); nil when it is not the token that is wrong.
    public var challenge: String? {
        guard status == 401 else { return nil }
        return reason == .missing ? "Bearer" : #"Bearer error="invalid_token""#
    }

    /// The message.
    public var errorDescription: String? { message }

    init(_ reason: Reason, _ message: String, _ status: Int) {
        (self.reason, self.message, self.status) = (reason, message, status)
    }
}

/// What a valid token says of a login, as it was when the token was issued.
public struct Claims: Sendable, Equatable {
    /// Who is logged in (`sub`).
    public let principal: String
    /// The session's public name (`sid`). Never a credential.
    public let handle: Handle
    /// Roles of the principal.
    public let roles: Set<String>
    /// Level of authentication, as the application counts it.
    public let level: UInt8
    /// When the token was issued (`iat`).
    public let issuedAt: Date
    /// When it expires (`exp`).
    public let expiresAt: Date
    /// The token's own name (`jti`).
    public let tokenID: String
    /// Whether the verifier knew what had ended.
    public let heard: Heard

    /// Whether a verifier knew what had ended.
    public enum Heard: String, Sendable {
        /// It has no ``Revocations``.
        case never
        /// Everything up to its bound.
        case inTime = "in time"
        /// Not for longer than its bound; only where it was told to accept that.
        case tooLongAgo = "too long ago"
    }

    init(_ parts: ClaimParts) {
        (principal, handle, roles) = (parts.principal, Handle(parts.handle), Set(parts.roles))
        (level, tokenID, heard) = (parts.level, parts.tokenId, Heard(rawValue: parts.heard) ?? .never)
        (issuedAt, expiresAt) = (Date(ms: parts.issuedAtMs), Date(ms: parts.expiresAtMs))
    }

    /// Throws unless the principal has this role.
    // spec: LOGIN-9 c39d
    public func require(role: String) throws {
        guard roles.contains(role) else {
            throw SessionError(.forbidden, "the principal does not have this role", .logIn, 403)
        }
    }
}

/// What has ended, as far as this process has heard: fed by ``Sessions`` that announce, through their store. A thread of
/// its own asks the store every so often for what is new, for the first time before this is made; with nil, only
/// ``pull()`` does. A store that is away then is asked again; one that can push (Redis, PostgreSQL) also as soon as there
/// is something, which nobody should count on. It keeps 16 bytes for each login that ended in the last hour. One can
/// serve several verifiers.
public final class Revocations: Sendable {
    let border: CoatroomBorder.Revocations

    /// From a store by its address. Throws for a store without a feed: `cookie` alone.
    public init(store: String, every: Duration? = .seconds(2), clock: ManualClock? = nil) throws {
        border = try bordered {
            try CoatroomBorder.Revocations(store: store, everyMs: every?.ms, clock: clock?.border)
        }
    }

    /// From the store of sessions. Throws for a store of the application, which has no feed.
    public init(of sessions: Sessions, every: Duration? = .seconds(2), clock: ManualClock? = nil) throws {
        border = try bordered { try sessions.revocations(everyMs: every?.ms, clock: clock?.border) }
    }

    /// Fetches what is new; how many endings that were. Throws when the store does not answer: what came until then is
    /// known.
    // spec: TOKEN-13 0b79
    @discardableResult
    public func pull() async throws -> Int {
        try await Blocking.shared.run { [border] in try bordered { Int(try border.pull()) } }
    }

    /// Up to when everything was heard; nil before the first time.
    public var upToDate: Date? { border.upToDateMs().map { Date(ms: $0) } }

    /// How many ended sessions are known.
    public var count: Int { Int(border.count()) }
}
