import Foundation

internal import CoatroomBorder

/// Policy, keys and a store: make one at start and share it between all requests.
///
/// ```swift
/// let sessions = try Sessions(store: "sqlite:sessions.db", keys: keys)
///
/// let reply = try await sessions.exchange(cookies: request.cookieHeader, method: request.method) { session in
///     try session.add("visits", 1)
/// }
/// reply.setCookies.forEach { response.add("Set-Cookie", $0) }
/// ```
public final class Sessions: Sendable {
    private let border: CoatroomBorder.Coatroom
    private let store: (any Store)?
    private let waits: Bool
    private let isSerial: Bool
    private let remember: Remember?
    /// How the cookie of a remembered login begins.
    private let remembered: String?

    /// Over a store of this library: `memory`, `sqlite:PATH`, `file:PATH`, `redis://...` or `postgres://...`.
    ///
    /// - Parameters:
    ///   - keys: the key ring, `number:base64url` by commas or lines; the first signs. ``newKey(_:)`` makes one.
    ///   - remember: how logins are remembered beyond their session; nil: not at all.
    ///   - announce: whether the store also holds a feed of endings, for ``Revocations``.
    ///   - clock: for tests alone.
    public convenience init(
        store: String, keys: String, policy: Policy = Policy(), remember: Remember? = nil, announce: Bool = false,
        clock: ManualClock? = nil
    ) throws {
        let config = CoatroomBorder.Config(
            store: store, keys: keys, policy: policy.parts, remember: remember?.parts, announce: announce)
        try self.init(nil, config, remember, clock)
    }

    /// Over a store of the application.
    public convenience init(
        store: any Store, keys: String, policy: Policy = Policy(), remember: Remember? = nil, clock: ManualClock? = nil
    ) throws {
        let config = CoatroomBorder.Config(store: nil, keys: keys, policy: policy.parts, remember: remember?.parts)
        try self.init(store, config, remember, clock)
    }

    private init(
        _ store: (any Store)?, _ config: CoatroomBorder.Config, _ remember: Remember?, _ clock: ManualClock?
    ) throws {
        (self.store, self.remember) = (store, remember)
        border = try bordered { try CoatroomBorder.Coatroom(config: config, clock: clock?.border) }
        waits = border.waits()
        isSerial = config.policy.concurrency == "serial"
        remembered = border.rememberCookie().map { $0 + "=" }
    }

    /// The entry of a key ring with 32 fresh random bytes: for `COATROOM_KEYS`, kept like a password.
    public static func newKey(_ number: UInt16) throws -> String {
        "\(number):\(try freshKey())"
    }

    func revocations(everyMs: Int64?, clock: CoatroomBorder.ManualClock?) throws -> CoatroomBorder.Revocations {
        try CoatroomBorder.Revocations.of(sessions: border, everyMs: everyMs, clock: clock)
    }

    /// Handles one request: loads its session, lets `handler` use it, and writes what came of it.
    ///
    /// When this returns, the store has acknowledged every write, and only then are there cookies. When the handler
    /// throws, nothing that it asked for is written (only what the presented id calls for: that its session is over, or
    /// that it was copied), and the error is thrown on. So it is with a task that is cancelled before the handler has
    /// returned; what is being written already is finished all the same, so that nobody is told less than was done.
    ///
    /// - Parameters:
    ///   - cookies: the Cookie header.
    ///   - method: the HTTP method, for which serial mode takes turns.
    ///   - head: headers that the response has already.
    public func exchange<T: Sendable>(
        cookies: String?, method: String = "GET", head: ResponseHead = ResponseHead(),
        _ handler: (Session) async throws -> T
    ) async throws -> Exchanged<T> {
        let session = try await opened(cookies, method)
        do {
            let value = try await handler(session)
            try Task.checkCancellation()
            return Exchanged(value, try await commit(session.exchange, session.finish(), head.parts))
        } catch {
            if let edits = session.abandon() { _ = try? await commit(session.exchange, edits, Head()) }
            throw error
        }
    }

    /// A task of its own: a cancellation does not reach into a write.
    private func commit(_ exchange: CoatroomBorder.Exchange, _ edits: [UInt8], _ head: Head) async throws -> Settled {
        try await Task { [self] in
            try await closed(run { try exchange.commitFast(edits, head) }, exchange)
        }.value
    }

    /// The same on this thread, which may wait for the disk or the network. For a store of this library alone; no
    /// remembered login begins here.
    public func exchangeNow<T>(
        cookies: String?, method: String = "GET", head: ResponseHead = ResponseHead(),
        _ handler: (Session) throws -> T
    ) throws -> Exchanged<T> {
        let begun = try bordered { try begin(cookies, method) }
        guard case .open(let sight) = begun.step else { throw SessionError.needsAwait }
        let session = Session(self, begun.exchange, sight)
        do {
            let value = try handler(session)
            let edits = try session.finish()
            let step = try bordered { try begun.exchange.commitFast(edits, head.parts) }
            guard case .closed(let settled) = step else { throw SessionError.needsAwait }
            return Exchanged(value, settled)
        } catch {
            if let edits = session.abandon() { _ = try? begun.exchange.commitFast(edits, Head()) }
            throw error
        }
    }

    // MARK: principals

    /// The live sessions of a principal, the one used last first.
    public func devices(of principal: String) async throws -> [Device] {
        try await devices(of: principal, this: nil)
    }

    func devices(of principal: String, this: Handle?) async throws -> [Device] {
        guard case .devices(let devices) = try await call(.devices(principal: principal)) else { return [] }
        return devices.map { Device($0, this: this) }
    }

    /// Ends one session of a principal; whether it was live.
    @discardableResult
    public func revoke(_ handle: Handle, of principal: String) async throws -> Bool {
        let given = try await call(.revoke(principal: principal, handle: handle.text))
        guard case .ended(let wasLive) = given else { return false }
        return wasLive
    }

    /// Ends all sessions of a principal, and refuses logins that are under way; how many.
    @discardableResult
    public func revokeAll(of principal: String) async throws -> Int {
        try await revoke(allOf: principal, but: nil).ended
    }

    func revoke(allOf principal: String, but: Handle?) async throws -> (ended: Int, moment: Int64) {
        let given = try await call(.revokeAll(principal: principal, but: but?.text))
        guard case .revoked(let ended, let moment) = given else { return (0, 0) }
        return (Int(ended), moment)
    }

    /// Ends every login there is, after an incident; how many.
    @discardableResult
    public func revokeEverything() async throws -> Int {
        guard case .count(let count) = try await call(.revokeEverything) else { return 0 }
        return Int(count)
    }

    /// Gives a principal another name in all its sessions; in how many.
    @discardableResult
    public func rename(_ principal: String, to name: String) async throws -> Int {
        guard case .count(let count) = try await call(.rename(old: principal, new: name)) else { return 0 }
        return Int(count)
    }

    // MARK: the store

    /// Makes or brings up to date what the store keeps records in: for PostgreSQL, once per release.
    public func migrate() async throws {
        try await run { try self.border.migrate() }
    }

    /// What an operator ought to know of the store as it is set up.
    public func warnings() async throws -> [String] {
        try await run { try self.border.warnings() }
    }

    /// Removes at most about `max` records that are garbage by now; how many. Call it now and then.
    @discardableResult
    public func sweep(max: Int = 1000) async throws -> Int {
        try await run { Int(try self.border.sweep(max: UInt32(clamping: max))) }
    }

    // MARK: steps

    private typealias Begun = (exchange: CoatroomBorder.Exchange, step: ExchangeStep)

    private func begin(_ cookies: String?, _ method: String) throws -> Begun {
        try border.beginFast(cookies ?? "", serial: isSerial && border.takesTurns(method: method))
    }

    private func opened(_ cookies: String?, _ method: String) async throws -> Session {
        let begun = try await run {
            guard self.mayRestore(cookies, method) else { return try self.begin(cookies, method) }
            return try self.border.beginRestoringFast(cookies ?? "")
        }
        var step = begun.step
        while case .ask(let ask) = step {
            let answer = await answer(ask)
            try Task.checkCancellation()
            step = try await run { try begun.exchange.answerFast(answer) }
        }
        guard case .open(let sight) = step else { throw SessionError.needsAwait }
        return Session(self, begun.exchange, sight)
    }

    private func closed(
        _ first: ExchangeStep, _ exchange: CoatroomBorder.Exchange
    ) async throws -> Settled {
        var step = first
        while case .ask(let ask) = step {
            let answer = await answer(ask)
            step = try bordered { try exchange.answerFast(answer) }
        }
        guard case .closed(let settled) = step else { throw SessionError.needsAwait }
        return settled
    }

    /// A call for principals, finished once it has begun.
    private func call(_ call: Call) async throws -> Given {
        let work = try bordered { try border.call(call: call) }
        let running = Task { [self] in
            var step = try await run { try work.start() }
            while case .ask(let ask) = step {
                let answer = await answer(ask)
                step = try bordered { try work.answer(answer: answer) }
            }
            guard case .given(let given) = step else { throw SessionError.needsAwait }
            return given
        }
        return try await running.value
    }

    /// Whether a remembered login may begin here: a quick look, the rest is judged by the core.
    private func mayRestore(_ cookies: String?, _ method: String) -> Bool {
        guard let remembered, let cookies else { return false }
        return cookies.contains(remembered) && border.restores(method: method)
    }

    private func answer(_ ask: Ask) async -> Answer {
        if case .roles(let principal) = ask, let remember {
            do {
                return .roles(roles: try await remember.rolesOf(principal))
            } catch {
                return .unavailable
            }
        }
        return await store?.answer(ask) ?? .unavailable
    }

    /// Makes a call of the border: here if it answers at once, else on a thread that may wait, which those of Swift's
    /// tasks must not.
    private func run<T: Sendable>(_ work: @escaping @Sendable () throws -> T) async throws -> T {
        guard waits else { return try bordered(work) }
        return try await Blocking.shared.run { try bordered(work) }
    }
}

/// 32 fresh random bytes in base64url.
func freshKey() throws -> String {
    let text = try bordered { try keygen() }.base64EncodedString()
    return text.replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
}

extension SessionError {
    static let needsAwait = SessionError(
        .wrongStage, "a store of the application answers later: use `exchange` instead of `exchangeNow`")
    static let nobody = SessionError(.unauthenticated, "nobody is logged in", .logIn, 401)
}

/// How logins are remembered beyond their session, for those who ask for it by ``Session/remember()``.
public struct Remember: Sendable {
    /// How long after the login with a password; no use prolongs it.
    public let span: Duration
    /// Name of its cookie, to which the prefix is added.
    public let cookie: String
    /// The roles that a principal has today, asked whenever a remembered login begins; nil if there is no such user
    /// any more, or none that may log in.
    public let rolesOf: @Sendable (String) async throws -> [String]?

    /// Remembers logins for so long: 30 days.
    public init(
        for span: Duration = .seconds(30 * 86_400), cookie: String = "remember",
        rolesOf: @escaping @Sendable (String) async throws -> [String]?
    ) {
        (self.span, self.cookie, self.rolesOf) = (span, cookie, rolesOf)
    }

    var parts: CoatroomBorder.Remember { CoatroomBorder.Remember(spanMs: span.ms, cookie: cookie) }
}

/// Headers that a response has before its session is closed.
public struct ResponseHead: Sendable {
    /// Its Vary header.
    public var vary: String?
    /// Its Cache-Control header.
    public var cacheControl: String?

    /// A head with these headers.
    public init(vary: String? = nil, cacheControl: String? = nil) {
        (self.vary, self.cacheControl) = (vary, cacheControl)
    }

    var parts: Head { Head(vary: vary, cacheControl: cacheControl) }
}

/// What came of an exchange: every write is acknowledged.
public struct Exchanged<T> {
    /// What the handler returned.
    public let value: T
    /// Values of Set-Cookie headers, each a header of its own.
    public var setCookies: [String] { settled.setCookies }
    /// The value that Vary must have; nil where it may stay.
    public var vary: String? { settled.vary }
    /// The value that Cache-Control must have; nil where it may stay.
    public var cacheControl: String? { settled.cacheControl }
    private let settled: Settled

    /// What was done.
    public var trace: Trace { Trace(settled.trace) }

    /// All headers to set, by name.
    public var headers: [(name: String, value: String)] {
        var headers = setCookies.map { (name: "Set-Cookie", value: $0) }
        if let vary { headers.append(("Vary", vary)) }
        if let cacheControl { headers.append(("Cache-Control", cacheControl)) }
        return headers
    }

    init(_ value: T, _ settled: Settled) {
        (self.value, self.settled) = (value, settled)
    }
}

extension Exchanged: Sendable where T: Sendable {}

/// One login on one device.
public struct Device: Sendable, Equatable {
    /// The session's public name, for ``Session/revoke(_:)``.
    public let handle: Handle
    /// Whether it is the session that asks.
    public let isThis: Bool
    /// A label for people.
    public let label: String
    /// The network address at the last login.
    public let address: String
    /// When the session was created.
    public let createdAt: Date
    /// When it was last used.
    public let seenAt: Date
    /// When its principal logged in or was last elevated.
    public let authenticatedAt: Date
    /// When it is over at the latest.
    public let deadline: Date
    /// Level of authentication.
    public let level: UInt8

    init(_ parts: DeviceParts, this: Handle?) {
        handle = Handle(parts.handle)
        isThis = handle == this
        (label, address, level) = (parts.label, parts.address, parts.level)
        (createdAt, seenAt) = (Date(ms: parts.createdAtMs), Date(ms: parts.seenAtMs))
        (authenticatedAt, deadline) = (Date(ms: parts.authenticatedAtMs), Date(ms: parts.deadlineMs))
    }
}

/// A clock that a test sets; with a seed, also randomness that repeats. Never in production: its ids can be guessed.
public final class ManualClock: Sendable {
    let border: CoatroomBorder.ManualClock

    /// A clock that stands still at this time, in milliseconds since the Unix epoch.
    public init(ms: Int64, seed: Data? = nil) {
        border = CoatroomBorder.ManualClock(unixMs: ms, seed: seed)
    }

    /// The reading, in milliseconds since the Unix epoch.
    public var ms: Int64 {
        get { border.unixMs() }
        set { border.set(unixMs: newValue) }
    }
}
