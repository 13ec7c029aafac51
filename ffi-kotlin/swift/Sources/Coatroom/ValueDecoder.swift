import Foundation

/// Makes any `Decodable` of a ``Value``.
final class ValueDecoder: Decoder {
    let value: Value
    let codingPath: [any CodingKey]
    let userInfo: [CodingUserInfoKey: Any] = [:]

    init(_ value: Value, _ codingPath: [any CodingKey] = []) {
        self.value = value
        self.codingPath = codingPath
    }

    static func object<T: Decodable>(_ type: T.Type, of value: Value) throws -> T {
        // What is held as it is asked for needs no decoder.
        let same: T? =
            switch value {
            case .bool(let value): value as? T
            case .int(let value): Int(exactly: value).flatMap { $0 as? T }
            case .float(let value): value as? T
            case .text(let value): value as? T
            default: nil
            }
        return try same ?? ValueDecoder(value).read(type)
    }

    fileprivate func misses(_ type: Any.Type) -> DecodingError {
        .typeMismatch(type, .init(codingPath: codingPath, debugDescription: "the session holds \(value.kind) here"))
    }

    fileprivate func inner(_ value: Value, _ key: any CodingKey) -> ValueDecoder {
        ValueDecoder(value, codingPath + [key])
    }

    fileprivate func read<T: Decodable>(_ type: T.Type) throws -> T {
        let special: Any? =
            switch (type, value) {
            case (is Value.Type, _): value
            case (is Data.Type, .bytes(let bytes)): bytes
            case (is URL.Type, .text(let text)): URL(string: text)
            case (is UUID.Type, .text(let text)): UUID(uuidString: text)
            case (is Data.Type, _), (is URL.Type, _), (is UUID.Type, _): throw misses(type)
            default: nil
            }
        if let special = special as? T { return special }
        return try T(from: self)
    }

    fileprivate func bool() throws -> Bool {
        guard case .bool(let value) = value else { throw misses(Bool.self) }
        return value
    }

    fileprivate func text() throws -> String {
        guard case .text(let value) = value else { throw misses(String.self) }
        return value
    }

    /// An integer is no float: who wrote 1 gets 1, and who wrote 1.0 gets 1.0.
    fileprivate func float<T: BinaryFloatingPoint>(_ type: T.Type) throws -> T {
        guard case .float(let value) = value else { throw misses(type) }
        return T(value)
    }

    fileprivate func int<T: FixedWidthInteger>(_ type: T.Type) throws -> T {
        guard case .int(let value) = value, let fits = T(exactly: value) else { throw misses(type) }
        return fits
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        guard case .map(let map) = value else { throw misses([String: Value].self) }
        return KeyedDecodingContainer(Keyed(decoder: self, map: map))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        guard case .list(let items) = value else { throw misses([Value].self) }
        return Unkeyed(decoder: self, items: items)
    }

    func singleValueContainer() -> any SingleValueDecodingContainer {
        Single(decoder: self)
    }
}

extension Value {
    fileprivate var kind: String {
        switch self {
        case .null: "nothing"
        case .bool: "a truth value"
        case .int: "an integer"
        case .float: "a float"
        case .text: "text"
        case .bytes: "bytes"
        case .list: "a list"
        case .map: "a map"
        }
    }
}

private struct Single: SingleValueDecodingContainer {
    let decoder: ValueDecoder
    var codingPath: [any CodingKey] { decoder.codingPath }

    func decodeNil() -> Bool { decoder.value == .null }
    func decode(_ type: Bool.Type) throws -> Bool { try decoder.bool() }
    func decode(_ type: String.Type) throws -> String { try decoder.text() }
    func decode(_ type: Double.Type) throws -> Double { try decoder.float(type) }
    func decode(_ type: Float.Type) throws -> Float { try decoder.float(type) }
    func decode(_ type: Int.Type) throws -> Int { try decoder.int(type) }
    func decode(_ type: Int8.Type) throws -> Int8 { try decoder.int(type) }
    func decode(_ type: Int16.Type) throws -> Int16 { try decoder.int(type) }
    func decode(_ type: Int32.Type) throws -> Int32 { try decoder.int(type) }
    func decode(_ type: Int64.Type) throws -> Int64 { try decoder.int(type) }
    func decode(_ type: UInt.Type) throws -> UInt { try decoder.int(type) }
    func decode(_ type: UInt8.Type) throws -> UInt8 { try decoder.int(type) }
    func decode(_ type: UInt16.Type) throws -> UInt16 { try decoder.int(type) }
    func decode(_ type: UInt32.Type) throws -> UInt32 { try decoder.int(type) }
    func decode(_ type: UInt64.Type) throws -> UInt64 { try decoder.int(type) }
    func decode<T: Decodable>(_ type: T.Type) throws -> T { try decoder.read(type) }
}

private struct Unkeyed: UnkeyedDecodingContainer {
    let decoder: ValueDecoder
    let items: [Value]
    private(set) var currentIndex = 0

    init(decoder: ValueDecoder, items: [Value]) {
        self.decoder = decoder
        self.items = items
    }

    var codingPath: [any CodingKey] { decoder.codingPath }
    var count: Int? { items.count }
    var isAtEnd: Bool { currentIndex == items.count }

    private func present(_ type: Any.Type) throws -> ValueDecoder {
        guard !isAtEnd else {
            let context = DecodingError.Context(codingPath: codingPath, debugDescription: "the list is over")
            throw DecodingError.valueNotFound(type, context)
        }
        return decoder.inner(items[currentIndex], Place(currentIndex))
    }

    mutating func decodeNil() throws -> Bool {
        let isNil = try present(Value?.self).value == .null
        currentIndex += isNil ? 1 : 0
        return isNil
    }

    mutating func decode<T: Decodable>(_ type: T.Type) throws -> T {
        let read = try present(type).read(type)
        currentIndex += 1
        return read
    }

    mutating func nestedContainer<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        let nested = try present([String: Value].self).container(keyedBy: type)
        currentIndex += 1
        return nested
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
        let nested = try present([Value].self).unkeyedContainer()
        currentIndex += 1
        return nested
    }

    mutating func superDecoder() throws -> any Decoder {
        let nested = try present(Value.self)
        currentIndex += 1
        return nested
    }
}

private struct Keyed<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let decoder: ValueDecoder
    let map: [String: Value]
    var codingPath: [any CodingKey] { decoder.codingPath }
    var allKeys: [Key] { map.keys.compactMap(Key.init(stringValue:)) }

    private func present(_ key: any CodingKey) throws -> ValueDecoder {
        guard let value = map[key.stringValue] else {
            let context = DecodingError.Context(codingPath: codingPath, debugDescription: "the map has no such key")
            throw DecodingError.keyNotFound(key, context)
        }
        return decoder.inner(value, key)
    }

    func contains(_ key: Key) -> Bool { map[key.stringValue] != nil }
    func decodeNil(forKey key: Key) throws -> Bool { try present(key).value == .null }
    func decode(_ type: Bool.Type, forKey key: Key) throws -> Bool { try present(key).bool() }
    func decode(_ type: String.Type, forKey key: Key) throws -> String { try present(key).text() }
    func decode(_ type: Double.Type, forKey key: Key) throws -> Double { try present(key).float(type) }
    func decode(_ type: Float.Type, forKey key: Key) throws -> Float { try present(key).float(type) }
    func decode(_ type: Int.Type, forKey key: Key) throws -> Int { try present(key).int(type) }
    func decode(_ type: Int8.Type, forKey key: Key) throws -> Int8 { try present(key).int(type) }
    func decode(_ type: Int16.Type, forKey key: Key) throws -> Int16 { try present(key).int(type) }
    func decode(_ type: Int32.Type, forKey key: Key) throws -> Int32 { try present(key).int(type) }
    func decode(_ type: Int64.Type, forKey key: Key) throws -> Int64 { try present(key).int(type) }
    func decode(_ type: UInt.Type, forKey key: Key) throws -> UInt { try present(key).int(type) }
    func decode(_ type: UInt8.Type, forKey key: Key) throws -> UInt8 { try present(key).int(type) }
    func decode(_ type: UInt16.Type, forKey key: Key) throws -> UInt16 { try present(key).int(type) }
    func decode(_ type: UInt32.Type, forKey key: Key) throws -> UInt32 { try present(key).int(type) }
    func decode(_ type: UInt64.Type, forKey key: Key) throws -> UInt64 { try present(key).int(type) }
    func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T { try present(key).read(type) }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<Nested> {
        try present(key).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        try present(key).unkeyedContainer()
    }

    func superDecoder() throws -> any Decoder { try present(Super()) }
    func superDecoder(forKey key: Key) throws -> any Decoder { try present(key) }
}
