import Foundation

internal import CoatroomBorder

/// A refusal. Its ``message`` says what to do; it never carries an id, a secret or a value.
public struct SessionError: Error, Sendable, Equatable, LocalizedError, CustomStringConvertible {
    /// What went wrong, by a name that is the same in every language.
    public let code: Code
    /// What happened and what to do, for people.
    public let message: String
    /// What the caller can do about it, for programs.
    public let advice: Advice
    /// The HTTP status to answer with.
    public let status: Int
    /// What was noticed until then.
    public let events: [SessionEvent]

    /// A stable name.
    public struct Code: RawRepresentable, Hashable, Sendable {
        /// As logs and other languages have it.
        public let rawValue: String

        /// A code by its name.
        public init(rawValue: String) {
            self.rawValue = rawValue
        }

        /// The settings, the keys or the store's name are wrong: mend them. At start only.
        public static let config = Code(rawValue: "config")
        /// A session cannot hold the value.
        public static let value = Code(rawValue: "value")
        /// `add` met something other than an integer, or the sum has no room.
        public static let notAddable = Code(rawValue: "not-addable")
        /// The function given to `update` threw.
        public static let updateRefused = Code(rawValue: "update-refused")
        /// The record would grow over the limit of the policy.
        public static let tooLarge = Code(rawValue: "too-large")
        /// A principal, role, label or address is empty or too long.
        public static let badPrincipal = Code(rawValue: "bad-principal")
        /// `elevate` without anybody logged in.
        public static let notLoggedIn = Code(rawValue: "not-logged-in")
        /// The response head is gone, so nothing that needs an answer can be promised.
        public static let headSent = Code(rawValue: "head-sent")
        /// The session was used after its exchange was over.
        public static let wrongStage = Code(rawValue: "wrong-stage")
        /// Logins live in cookies, and no deny list knows them.
        public static let unlisted = Code(rawValue: "unlisted")
        /// Another request changed what this strict one read.
        public static let conflict = Code(rawValue: "conflict")
        /// The session ended while the request was under way.
        public static let ended = Code(rawValue: "ended")
        /// The id was replaced while the request was under way.
        public static let superseded = Code(rawValue: "superseded")
        /// The logout was not carried out.
        public static let logoutRefused = Code(rawValue: "logout-refused")
        /// The session cookie came twice in the request.
        public static let duplicateCookie = Code(rawValue: "duplicate-cookie")
        /// All sessions of the user were revoked while the login was under way.
        public static let revoked = Code(rawValue: "revoked")
        /// The user has as many sessions as are allowed.
        public static let limitReached = Code(rawValue: "limit-reached")
        /// The session named is not this user's.
        public static let notTheirs = Code(rawValue: "not-theirs")
        /// The store cannot answer. Nothing was written.
        public static let unavailable = Code(rawValue: "unavailable")
        /// Others kept changing the session for too long. Nothing was written.
        public static let busy = Code(rawValue: "busy")
        /// It is not known whether the write took place.
        public static let unknown = Code(rawValue: "unknown")
        /// The system gave no random bytes.
        public static let noRandomness = Code(rawValue: "no-randomness")
        /// Nobody is logged in (401).
        public static let unauthenticated = Code(rawValue: "unauthenticated")
        /// The login is too old for this, or was merely remembered (401).
        public static let notFresh = Code(rawValue: "not-fresh")
        /// The login is not strong enough for this (401).
        public static let levelTooLow = Code(rawValue: "level-too-low")
        /// There is no access token for a login that is not stored yet (409), or its names are too long for one.
        public static let notIssued = Code(rawValue: "not-issued")
        /// Somebody is, without the right (403).
        public static let forbidden = Code(rawValue: "forbidden")
    }

    /// What the caller can do.
    public enum Advice: Sendable, Equatable {
        /// A mistake in the calling program: mend it.
        case mendTheCall
        /// The client may send the request again with what it holds then.
        case askAgain
        /// The same request may succeed after a pause.
        case retryLater
        /// Somebody else has to log in.
        case logIn
    }

    /// The message.
    public var description: String { "\(message) (\(code.rawValue))" }
    /// The message.
    public var errorDescription: String? { message }

    init(
        _ code: Code, _ message: String, _ advice: Advice = .mendTheCall, _ status: Int = 500,
        _ events: [SessionEvent] = []
    ) {
        (self.code, self.message, self.advice, self.status, self.events) = (code, message, advice, status, events)
    }

    init(_ refusal: Refusal) {
        switch refusal {
        case .Refused(let code, let reason, let advice, let status, let events):
            self.init(Code(rawValue: code), reason, Advice(advice), Int(status), events.map(SessionEvent.init))
        }
    }

    init(_ error: ValueError) {
        self.init(.value, error.description)
    }
}

extension SessionError.Advice {
    fileprivate init(_ advice: CoatroomBorder.Advice) {
        switch advice {
        case .mendTheCall: self = .mendTheCall
        case .askAgain: self = .askAgain
        case .retryLater: self = .retryLater
        case .logIn: self = .logIn
        }
    }
}

/// Something that happened to a session, by its public handle.
public struct SessionEvent: Sendable, Equatable {
    /// A stable name, such as `rotated` or `reuse`.
    public let name: String
    /// The session concerned, where there is one.
    public let handle: Handle?
    /// Why it ended, if it did.
    public let cause: String?

    init(_ noticed: Noticed) {
        (name, handle, cause) = (noticed.name, noticed.handle.map(Handle.init), noticed.cause)
    }
}

/// Runs a call of the border; its refusals become ``SessionError``.
@inline(__always)
func bordered<T>(_ work: () throws -> T) throws -> T {
    do {
        return try work()
    } catch let refusal as Refusal {
        throw SessionError(refusal)
    }
}
