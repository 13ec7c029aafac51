import Foundation

internal import CoatroomBorder

/// One request's view of its session, valid until its exchange is over.
///
/// Reading and writing is pure memory; nothing is stored before the handler of
/// ``Sessions/exchange(cookies:method:head:_:)`` has returned. A value changes when it is set: what `get` returns is a
/// copy.
public final class Session: Sendable {
    let exchange: CoatroomBorder.Exchange
    private let sessions: Sessions
    private let state: Locked<State>

    fileprivate struct State {
        /// What the native half showed last.
        var sight: Sight
        /// What counts instead of what is there: set since or, where there is no value, removed. By the bytes of the key,
        /// for Swift takes some texts for one that the store does not.
        var table: [[UInt8]: ArraySlice<UInt8>?] = [:]
        /// Whether all that counts is in the table.
        var isTabulated = false
        var searches = 0
        var pending = Batch()
        var isOver = false
    }

    init(_ sessions: Sessions, _ exchange: CoatroomBorder.Exchange, _ sight: Sight) {
        (self.sessions, self.exchange) = (sessions, exchange)
        state = Locked(State(sight: sight))
    }

    // MARK: data

    /// The value of a key; nil when there is none. Throws when it is of another type.
    public func get<T: Decodable>(_ key: String, as type: T.Type = T.self) throws -> T? {
        guard let bytes = try open({ state in state.read(key) }) else { return nil }
        do {
            return try ValueDecoder.object(type, of: Value(bytes))
        } catch let error as ValueError {
            throw SessionError(error)
        }
    }

    /// Sets a key. What can be stored is what ``Value`` can hold.
    public func set(_ key: String, to value: some Encodable) throws {
        let bytes: [UInt8]
        do {
            bytes = try ValueEncoder.value(of: value).encoded()
        } catch let error as ValueError {
            throw SessionError(error)
        }
        try set(key, bytes)
    }

    /// The canonical CBOR of a key's value.
    public func getEncoded(_ key: String) throws -> Data? {
        try open { state in state.read(key) }.map { Data($0) }
    }

    /// Sets a key to a value that is in canonical CBOR already.
    public func setEncoded(_ key: String, _ bytes: Data) throws {
        try set(key, Array(bytes))
    }

    private func set(_ key: String, _ bytes: [UInt8]) throws {
        try open { state in
            state.table.updateValue(bytes[...], forKey: Array(key.utf8))
            state.pending.add("set") { $0.text(key); $0.data(bytes) }
        }
    }

    /// Removes a key; removing an absent one is nothing.
    public func remove(_ key: String) throws {
        try open { state in
            state.table.updateValue(nil, forKey: Array(key.utf8))
            state.pending.add("remove") { $0.text(key) }
        }
    }

    /// Removes every key present when the exchange is written.
    public func clear() throws {
        try open { state in
            (state.table, state.isTabulated) = ([:], true)
            state.pending.add("clear")
        }
    }

    /// Adds to an integer, which starts at 0. Sums with the additions of other requests and never conflicts. Returns
    /// the sum as this exchange sees it.
    @discardableResult
    public func add(_ key: String, _ n: Int64) throws -> Int64 {
        try apply { $0.add("add") { $0.text(key); $0.int(n) } }.came.sum ?? 0
    }

    /// Replaces the value of a key by a function of it. After a conflict the function runs again on the fresh value,
    /// also after the handler has returned.
    public func update<T: Codable>(
        _ key: String, as type: T.Type = T.self, _ function: @escaping @Sendable (T?) throws -> T?
    ) throws {
        try open { state in
            try state.flush(exchange)
            let updater = Updating { present in
                let object = try present.map { try ValueDecoder.object(type, of: Value(cbor: $0)) }
                return try function(object).map { try ValueEncoder.value(of: $0).cbor() }
            }
            state.show(try bordered { try exchange.updateFast(key, updater) })
        }
    }

    /// All keys, in the order of their encodings.
    public var keys: [String] {
        get throws {
            try open { state in
                state.pending.once("keys")
                return state.keys()
            }
        }
    }

    /// Refuses the commit of this exchange if a key that it reads or sets from here on is changed by another in
    /// between.
    public func strict() throws {
        try open { state in state.pending.strict() }
    }

    // MARK: who is logged in

    /// Who is logged in.
    public var principal: Principal? {
        get throws {
            try open { state in
                state.pending.once("who")
                return state.sight.person.map(Principal.init)
            }
        }
    }

    /// Logs a principal in: a fresh id, and every older one of this session is dead at once.
    public func login(_ principal: String, roles: [String] = [], level: UInt8 = 1) throws {
        _ = try apply {
            $0.add("login") { writer in
                writer.text(principal)
                writer.list(roles.count)
                roles.forEach { writer.text($0) }
                writer.int(Int64(level))
            }
        }
    }

    /// Remembers whoever is logged in beyond the session, where ``Remember`` says how: after a login, if the user
    /// wants it.
    public func remember() throws {
        _ = try apply { $0.add("remember") }
    }

    /// Changes the level of authentication: a fresh id as for a login, but no limit moves.
    public func elevate(to level: UInt8) throws {
        _ = try apply { $0.add("elevate") { $0.int(Int64(level)) } }
    }

    /// Ends the session and removes both cookies. What is set afterwards goes to a fresh session.
    public func logout() throws {
        _ = try apply { $0.add("logout") }
    }

    /// Asks for a new id for the same principal.
    @discardableResult
    public func rotate() throws -> Rotation {
        let word = try apply { $0.add("rotate") }.came.rotation
        return word.flatMap(Rotation.init(rawValue:)) ?? .postponed
    }

    /// What ``rotate()`` did.
    public enum Rotation: String, Sendable {
        /// The id will be replaced when the exchange closes.
        case rotated
        /// A new id is already on its way to the client.
        case pending
        /// Not now: nobody is logged in, or the last rotation was too recent.
        case postponed
    }

    /// Lets somebody use the native half of this exchange.
    func exchanging<T>(_ work: (CoatroomBorder.Exchange) throws -> T) throws -> T {
        try open { state in
            try state.flush(exchange)
            return try work(exchange)
        }
    }

    /// Throws unless somebody with this role is logged in.
    public func require(role: String) throws {
        try open { state in
            try state.flush(exchange)
            try bordered { try exchange.requireRole(role: role) }
        }
    }

    /// Throws unless whoever is logged in proved who they are no longer ago than this. Level 0 is never fresh.
    public func require(freshWithin span: Duration) throws {
        try open { state in
            try state.flush(exchange)
            try bordered { try exchange.requireFresh(withinMs: span.ms) }
        }
    }

    /// Throws unless somebody with this level of authentication or a higher one is logged in.
    public func require(level: UInt8) throws {
        try open { state in
            try state.flush(exchange)
            try bordered { try exchange.requireLevel(level: Int64(level)) }
        }
    }

    /// Notes what a list of devices shows of this client.
    public func setClient(label: String, address: String) throws {
        _ = try apply { $0.add("client") { $0.text(label); $0.text(address) } }
    }

    /// A fresh copy of the token against forged requests: of whoever is logged in, or of the visitor with this value.
    public func csrfToken(visitor: Data = Data()) throws -> Data {
        try open { state in
            try state.flush(exchange)
            return try bordered { try exchange.csrfToken(visitor: visitor) }
        }
    }

    /// Whether a token is that of whoever is logged in, or of the visitor with this value.
    public func csrfChecks(_ token: Data, visitor: Data = Data()) throws -> Bool {
        try open { state in
            try state.flush(exchange)
            return try bordered { try exchange.csrfChecks(visitor: visitor, token: token) }
        }
    }

    // MARK: devices

    /// The live sessions of whoever is logged in, the one used last first.
    public func devices() async throws -> [Device] {
        let (name, this) = try whose()
        return try await sessions.devices(of: name, this: this)
    }

    /// Ends one session of whoever is logged in; whether it was live.
    @discardableResult
    public func revoke(_ handle: Handle) async throws -> Bool {
        try await sessions.revoke(handle, of: whose().name)
    }

    /// Ends all other sessions of whoever is logged in; how many.
    @discardableResult
    public func revokeOthers() async throws -> Int {
        let (name, this) = try whose()
        return try await revokeAll(name, but: this)
    }

    /// Ends all sessions of whoever is logged in, this one included; how many. Call ``logout()`` for its cookie.
    @discardableResult
    public func revokeAll() async throws -> Int {
        try await revokeAll(whose().name, but: nil)
    }

    private func revokeAll(_ name: String, but: Handle?) async throws -> Int {
        let (ended, moment) = try await sessions.revoke(allOf: name, but: but)
        _ = try apply { $0.add("revoked") { $0.int(moment) } }
        return ended
    }

    private func whose() throws -> (name: String, this: Handle?) {
        guard let name = try principal?.name else {
            throw SessionError.nobody
        }
        return (name, try trace.handle)
    }

    // MARK: the exchange

    /// What the exchange found, and what closing it now would write.
    public var trace: Trace {
        get throws {
            try open { state in
                try state.flush(exchange)
                state.pending.once("who")
                return Trace(state.sight.trace)
            }
        }
    }

    /// The response head is gone: no cookie can be set any more, so rotation waits, and any other write is an error.
    public func headSent() throws {
        try open { state in state.pending.add("head-sent") }
    }

    /// Forgets every change asked for: the response is an error and acknowledges nothing.
    public func discard() throws {
        _ = try apply { $0.add("discard") }
    }

    /// Ends the handler's turn: what is left to send. Whoever uses the session from here on is refused.
    func finish() throws -> [UInt8] {
        try open { state in
            state.isOver = true
            return state.pending.take()
        }
    }

    /// Ends it for a handler that failed: what is to be sent instead, or nothing if it is over already.
    func abandon() -> [UInt8]? {
        state.with { state in
            guard !state.isOver else { return nil }
            state.isOver = true
            var batch = Batch()
            // No head goes out with what is thrown, so no id may be replaced.
            batch.add("head-sent")
            batch.add("discard")
            return batch.take()
        }
    }

    private func open<T>(_ work: (inout State) throws -> T) throws -> T {
        try state.with { state in
            guard !state.isOver else {
                throw SessionError(
                    .wrongStage, "the exchange is over: use the session inside the handler of its own request")
            }
            return try work(&state)
        }
    }

    /// Sends what is pending and this, and shows the session then.
    private func apply(_ edit: (inout Batch) -> Void) throws -> Sight {
        try open { state in
            edit(&state.pending)
            try state.flush(exchange)
            return state.sight
        }
    }
}

extension Session.State {
    fileprivate mutating func read(_ key: String) -> ArraySlice<UInt8>? {
        pending.read(key)
        // A search passes all keys before: for a few it costs less than a table.
        if searches == 16 { tabulate() }
        if !table.isEmpty, let value = table[Array(key.utf8)] { return value }
        guard !isTabulated else { return nil }
        searches += 1
        return sight.value(of: key)
    }

    fileprivate mutating func keys() -> [String] {
        tabulate()
        return table.lazy.filter { $0.value != nil }.map { String(decoding: $0.key, as: UTF8.self) }
            .sorted(by: keyPrecedes)
    }

    private mutating func tabulate() {
        guard !isTabulated else { return }
        table.merge(sight.items) { changed, _ in changed }
        isTabulated = true
    }

    fileprivate mutating func flush(_ exchange: CoatroomBorder.Exchange) throws {
        guard !pending.isEmpty else { return }
        let edits = pending.take()
        show(try bordered { try exchange.applyFast(edits) })
    }

    fileprivate mutating func show(_ sight: Sight) {
        (self.sight, table, isTabulated, searches) = (sight, [:], false, 0)
    }
}

/// A function of the application, on the other side of the border.
private final class Updating: Updater {
    let function: @Sendable (Data?) throws -> Data?

    init(_ function: @escaping @Sendable (Data?) throws -> Data?) {
        self.function = function
    }

    func update(present: Data?) throws -> Data? {
        try function(present)
    }
}

/// Who is logged in.
public struct Principal: Sendable, Equatable {
    /// The application's own name for whoever is logged in.
    public let name: String
    /// Sorted.
    public let roles: [String]
    /// Level of authentication.
    public let level: UInt8
    /// When the login or the last elevation was.
    public let authenticatedAt: Date

    init(_ person: Person) {
        (name, roles, level) = (person.name, person.roles, person.level)
        authenticatedAt = Date(ms: person.authenticatedAtMs)
    }
}

/// What an exchange found, and has written or would write.
public struct Trace: Sendable, Equatable {
    /// The state of the presented id; nil when there was none.
    public let state: String?
    /// The session's public name.
    public let handle: Handle?
    /// How many ids were issued before the present one.
    public let generation: UInt32?
    /// What is written.
    public let written: [String]
    /// Calls of the store.
    public let trips: UInt32
    /// Time until the idle limit.
    public let idleLeft: Duration?
    /// Time until the absolute limit.
    public let absoluteLeft: Duration?
    /// What was noticed.
    public let events: [SessionEvent]

    init(_ parts: TraceParts) {
        (state, handle) = (parts.state, parts.handle.map(Handle.init))
        (generation, written, trips) = (parts.generation, parts.written, parts.trips)
        idleLeft = parts.idleLeftMs.map { .milliseconds($0) }
        absoluteLeft = parts.absoluteLeftMs.map { .milliseconds($0) }
        events = parts.events.map(SessionEvent.init)
    }
}
