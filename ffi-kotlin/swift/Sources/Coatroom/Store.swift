import Foundation

internal import CoatroomBorder

/// The public name of a session, 16 characters: key of its record, line of a list of devices. Never a credential.
public struct Handle: Hashable, Sendable, CustomStringConvertible {
    /// The 16 characters.
    public let text: String

    /// A handle by its text.
    public init(_ text: String) {
        self.text = text
    }

    /// The 16 characters.
    public var description: String { text }
}

/// A store of the application: two operations on records, and an index of who is logged in where.
///
/// A record is opaque. What a call throws is read as the store's silence: a load did not answer, a swap *may* have taken place
/// (throw ``NotDone`` if it certainly did not). So a store need not catch what its client library throws, and a task that is
/// cancelled in the middle of a swap does no harm.
public protocol Store: Sendable {
    /// The record under a handle; nil when there is none.
    func load(_ handle: Handle) async throws -> Data?

    /// Compares and swaps, at once or not at all. Sent at most once: a client that sends it again by itself must be told not to.
    func swap(_ swap: Swap) async throws -> Swapped

    /// Makes an entry of the index, which may be there already.
    func enter(_ entry: IndexEntry) async throws -> Entered

    /// The sessions entered under a principal.
    func sessions(of principal: String) async throws -> [Handle]

    /// Removes an entry.
    func leave(_ principal: String, _ handle: Handle) async throws

    /// Notes that all sessions of a principal are revoked as of `now`, in milliseconds, or a millisecond after the last such moment if
    /// that is later; returns the moment. ``Entered`` repeats it.
    func bar(_ principal: String, now: Int64) async throws -> Int64

    /// About `max` handles of stored records, and where the next ones begin; nil at the end.
    func scan(from place: Data?, max: Int) async throws -> (handles: [Handle], next: Data?)
}

/// What a ``Store`` throws when it certainly did not do what it was asked.
public struct NotDone: Error {
    /// It was not done.
    public init() {}
}

/// A compare-and-swap on one record.
public struct Swap: Sendable {
    /// The record concerned.
    public let handle: Handle
    /// Bytes 2 to 17 of the record that must be stored now; nil: there must be none.
    public let expected: Data?
    /// What is stored then; nil removes the record.
    public let record: Data?
    /// It must survive a crash once it is acknowledged.
    public let isDurable: Bool
    /// From when on the new record is garbage, in milliseconds since the Unix epoch.
    public let garbageAt: Int64
    /// What it means for the index: an entry to make in the same step, or a principal whose entry goes.
    public let listing: Listing

    /// What a swap means for the index of principals.
    public enum Listing: Sendable {
        /// Nothing.
        case keep
        /// From now on the session is one of a principal's. Answer ``Swapped/entered(_:)``, or ``Swapped/done`` to be asked apart.
        case enter(IndexEntry)
        /// The session has ended.
        case leave(principal: String)
    }

    /// Whether a record is the one expected: for stores that compare by themselves.
    public func expects(_ present: Data?) -> Bool {
        guard let expected else { return present == nil }
        guard let present, present.count >= 18 else { return false }
        return present.dropFirst(2).prefix(16) == expected
    }
}

/// The answer to a ``Swap``.
public enum Swapped: Sendable {
    /// It is done.
    case done
    /// It is done, and the entry of its listing stands.
    case entered(Entered)
    /// The principal has as many sessions as ``IndexEntry/atMost`` allows; nothing was written.
    case full
    /// Something else is stored, namely this; nothing was written.
    case conflict(Data?)
}

/// One line of the index of principals.
public struct IndexEntry: Sendable {
    /// Who is logged in.
    public let principal: String
    /// Where.
    public let handle: Handle
    /// The session is over by then, in milliseconds since the Unix epoch.
    public let until: Int64
    /// Entries whose `until` is not later are garbage.
    public let now: Int64
    /// Enter only if fewer other sessions are listed.
    public let atMost: Int?
    /// How many of the sessions that were listed before it are to be named, those that are over first.
    public let names: Int

    init(_ parts: EntryParts) {
        (principal, handle, until, now) = (parts.principal, Handle(parts.handle), parts.untilMs, parts.nowMs)
        atMost = parts.atMost.map(Int.init)
        names = Int(parts.names)
    }
}

/// What the index says once an entry stands.
public struct Entered: Sendable {
    /// The moment of the last revocation of all sessions of the principal; 0 if there was none.
    public let revoked: Int64
    /// How long ago that was by the store's own clock, in milliseconds; nil where all callers share the clock of one host.
    public let ago: Int64?
    /// How many sessions of the principal are listed, this one included.
    public let count: Int
    /// The others that were listed before, as many as ``IndexEntry/names`` asks for; nil if this one was listed already.
    public let before: [Handle]?

    /// The answer of a store.
    public init(revoked: Int64, ago: Int64? = nil, count: Int, before: [Handle]?) {
        (self.revoked, self.ago, self.count, self.before) = (revoked, ago, count, before)
    }
}

extension Store {
    /// Does what the border asks for. Never throws: what the store throws is an answer.
    func answer(_ ask: Ask) async -> Answer {
        do {
            return try await answered(ask)
        } catch is NotDone {
            return .unavailable
        } catch {
            if case .swap = ask { return .unknown }
            return .unavailable
        }
    }

    private func answered(_ ask: Ask) async throws -> Answer {
        switch ask {
        case .load(let handle):
            return try await load(Handle(handle)).map { .found(record: $0) } ?? .absent
        case .swap(let handle, let expected, let record, let durable, let garbageAt, let listing):
            let asked = Swap(
                handle: Handle(handle), expected: expected, record: record, isDurable: durable, garbageAt: garbageAt,
                listing: Swap.Listing(listing))
            return try await swap(asked).parts
        case .enter(let entry):
            return try await enter(IndexEntry(entry)).parts
        case .sessions(let principal):
            return .handles(handles: try await sessions(of: principal).map(\.text))
        case .leave(let principal, let handle):
            try await leave(principal, Handle(handle))
            return .done
        case .bar(let principal, let now):
            return .moment(ms: try await bar(principal, now: now))
        case .scan(let from, let max):
            let scanned = try await scan(from: from, max: Int(max))
            return .scanned(handles: scanned.handles.map(\.text), next: scanned.next)
        case .roles:
            return .unavailable
        case .pause(let ms):
            try? await Task.sleep(for: .milliseconds(ms))
            return .done
        }
    }
}

extension Swap.Listing {
    fileprivate init(_ parts: ListingParts) {
        switch parts {
        case .keep: self = .keep
        case .enter(let entry): self = .enter(IndexEntry(entry))
        case .leave(let principal): self = .leave(principal: principal)
        }
    }
}

extension Swapped {
    fileprivate var parts: Answer {
        switch self {
        case .done: .done
        case .entered(let entered): entered.parts
        case .full: .full
        case .conflict(let record): .conflict(record: record)
        }
    }
}

extension Entered {
    fileprivate var parts: Answer {
        .entered(
            revokedMs: revoked, agoMs: ago, count: UInt32(clamping: count), before: before?.map(\.text))
    }
}
