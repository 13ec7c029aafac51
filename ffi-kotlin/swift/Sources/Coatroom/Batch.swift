import Foundation

/// What a handler did since the border was told last: a list of edits in deterministic CBOR.
struct Batch {
    private var writer = CBORWriter()
    private var count = 0
    /// What was looked at: each key is told once.
    private var read: Set<String> = []
    private var looked: Set<String> = []

    var isEmpty: Bool { count == 0 }

    mutating func add(_ word: String, _ rest: (inout CBORWriter) -> Void = { _ in }) {
        count += 1
        writer.list(Self.arity(word))
        writer.text(word)
        rest(&writer)
    }

    mutating func read(_ key: String) {
        if read.insert(key).inserted { add("read") { $0.text(key) } }
    }

    mutating func once(_ word: String) {
        if looked.insert(word).inserted { add(word) }
    }

    /// Only what is read from here on counts, so all that is read again is told again.
    mutating func strict() {
        (read, looked) = ([], [])
        add("strict")
    }

    /// The bytes; what was looked at stays told.
    mutating func take() -> Data {
        guard count > 0 else { return Data() }
        var whole = CBORWriter()
        whole.list(count)
        let data = Data(whole.bytes + writer.bytes)
        (writer, count) = (CBORWriter(), 0)
        return data
    }

    private static func arity(_ word: String) -> Int {
        switch word {
        case "login": 4
        case "set", "add", "client": 3
        case "read", "remove", "elevate", "revoked": 2
        default: 1
        }
    }
}

/// A value behind a lock, for short work. Both are in one place of memory; an `NSLock` is in several.
struct Locked<Value>: @unchecked Sendable {
    private let place: ManagedBuffer<Value, pthread_mutex_t>

    init(_ value: Value) {
        place = Place.create(minimumCapacity: 1) { _ in value }
        place.withUnsafeMutablePointerToElements { _ = pthread_mutex_init($0, nil) }
    }

    func with<T>(_ work: (inout Value) throws -> T) rethrows -> T {
        try place.withUnsafeMutablePointers { value, lock in
            pthread_mutex_lock(lock)
            defer { pthread_mutex_unlock(lock) }
            return try work(&value.pointee)
        }
    }

    private final class Place: ManagedBuffer<Value, pthread_mutex_t> {
        deinit { withUnsafeMutablePointerToElements { _ = pthread_mutex_destroy($0) } }
    }
}
