import Foundation

/// What a handler did since the border was told last: a list of edits in deterministic CBOR.
struct Batch {
    private var writer = CBORWriter()
    private var count = 0
    /// What was looked at: each key is told once.
    private var read = Keys()
    private var looked: [String] = []

    var isEmpty: Bool { count == 0 }

    mutating func add(_ word: String, _ rest: (inout CBORWriter) -> Void = { _ in }) {
        if count == 0 { writer.bytes.reserveCapacity(64) }
        count += 1
        writer.list(Self.arity(word))
        writer.text(word)
        rest(&writer)
    }

    mutating func read(_ key: String) {
        if read.insert(key) { add("read") { $0.text(key) } }
    }

    mutating func once(_ word: String) {
        guard !looked.contains(word) else { return }
        looked.append(word)
        add(word)
    }

    /// Only what is read from here on counts, so all that is read again is told again.
    mutating func strict() {
        (read, looked) = (Keys(), [])
        add("strict")
    }

    /// The bytes; what was looked at stays told.
    mutating func take() -> [UInt8] {
        guard count > 0 else { return [] }
        defer { (writer, count) = (CBORWriter(), 0) }
        var head = CBORWriter()
        head.list(count)
        writer.bytes.insert(contentsOf: head.bytes, at: 0)
        return writer.bytes
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

/// A set of keys, told apart by their bytes: Swift takes some texts for one that the store does not.
private struct Keys {
    /// Most exchanges have a few: to compare them costs less than to hash.
    private var few: [String] = []
    private var others: Set<[UInt8]> = []

    /// Whether it is new.
    mutating func insert(_ key: String) -> Bool {
        if few.contains(where: { $0.utf8.elementsEqual(key.utf8) }) { return false }
        guard few.count < 8 else { return others.insert(Array(key.utf8)).inserted }
        few.append(key)
        return true
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
