import Coatroom
import Foundation

let testKeys = "1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE"

/// A store of the application, in a dictionary, with a fault to order.
actor DictionaryStore: Store {
    enum Fault: Error { case broken }
    typealias Hook = @Sendable () async throws -> Void

    private(set) var records: [Handle: Data] = [:]
    private var entries: [String: Set<Handle>] = [:]
    private var moments: [String: Int64] = [:]
    private var beforeLoad: Hook?
    private var beforeSwap: Hook?
    private var afterSwap: Hook?

    func on(load: Hook? = nil, swap: Hook? = nil, swapped: Hook? = nil) {
        (beforeLoad, beforeSwap, afterSwap) = (load, swap, swapped)
    }

    func load(_ handle: Handle) async throws -> Data? {
        try await beforeLoad?()
        return records[handle]
    }

    func swap(_ swap: Swap) async throws -> Swapped {
        try await beforeSwap?()
        guard swap.expects(records[swap.handle]) else { return .conflict(records[swap.handle]) }
        records[swap.handle] = swap.record
        var answer = Swapped.done
        switch swap.listing {
        case .keep: break
        case .leave(let principal): entries[principal]?.remove(swap.handle)
        case .enter(let entry): answer = .entered(entered(entry))
        }
        try await afterSwap?()
        return answer
    }

    func enter(_ entry: IndexEntry) -> Entered {
        entered(entry)
    }

    private func entered(_ entry: IndexEntry) -> Entered {
        let listed = entries[entry.principal] ?? []
        let before = listed.contains(entry.handle) ? nil : Array(listed.prefix(entry.names))
        entries[entry.principal] = listed.union([entry.handle])
        return Entered(
            revoked: moments[entry.principal] ?? 0, count: entries[entry.principal]?.count ?? 0, before: before)
    }

    func sessions(of principal: String) -> [Handle] {
        Array(entries[principal] ?? [])
    }

    func leave(_ principal: String, _ handle: Handle) {
        entries[principal]?.remove(handle)
    }

    func bar(_ principal: String, now: Int64) -> Int64 {
        let moment = max(now, (moments[principal] ?? 0) + 1)
        moments[principal] = moment
        return moment
    }

    func scan(from place: Data?, max: Int) -> (handles: [Handle], next: Data?) {
        (Array(records.keys), nil)
    }
}

/// A browser's cookies, as far as names and removal go.
struct Jar: Sendable {
    private(set) var cookies: [String: String] = [:]

    var header: String {
        cookies.map { "\($0)=\($1)" }.joined(separator: "; ")
    }

    mutating func keep(_ lines: [String]) {
        for line in lines {
            let pair = line.prefix { $0 != ";" }.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            cookies[String(pair[0])] = line.contains("Max-Age=0") ? nil : String(pair[1])
        }
    }
}

extension Sessions {
    /// One exchange of a browser.
    @discardableResult
    func visit<T: Sendable>(_ jar: inout Jar, _ handler: (Session) async throws -> T) async throws -> T {
        let exchanged = try await exchange(cookies: jar.header, handler)
        jar.keep(exchanged.setCookies)
        return exchanged.value
    }
}
