import Foundation

/// Makes a ``Value`` of any `Encodable`.
final class ValueEncoder: Encoder {
    let codingPath: [any CodingKey]
    let userInfo: [CodingUserInfoKey: Any] = [:]
    /// What was written here: one value, the items of a list, or the entries of a map.
    private var slot = Slot.nothing

    private enum Slot {
        case nothing
        case value(Value)
        case list([ValueEncoder])
        case map([(String, ValueEncoder)])
    }

    init(_ codingPath: [any CodingKey] = []) {
        self.codingPath = codingPath
    }

    static func value(of object: some Encodable) throws -> Value {
        let encoder = ValueEncoder()
        try encoder.write(object)
        return encoder.value
    }

    private var value: Value {
        switch slot {
        case .nothing: .map([:])
        case .value(let value): value
        case .list(let items): .list(items.map(\.value))
        case .map(let entries): .map(Dictionary(entries.map { ($0.0, $0.1.value) }) { $1 })
        }
    }

    fileprivate func put(_ value: Value) {
        slot = .value(value)
    }

    fileprivate func beginMap() {
        if case .map = slot { return }
        slot = .map([])
    }

    fileprivate func beginList() {
        if case .list = slot { return }
        slot = .list([])
    }

    fileprivate var count: Int {
        if case .list(let items) = slot { items.count } else { 0 }
    }

    fileprivate func entry(_ key: any CodingKey) -> ValueEncoder {
        let made = ValueEncoder(codingPath + [key])
        guard case .map(var entries) = slot else { return made }
        slot = .nothing
        entries.append((key.stringValue, made))
        slot = .map(entries)
        return made
    }

    fileprivate func item() -> ValueEncoder {
        let made = ValueEncoder(codingPath + [Place(count)])
        guard case .list(var items) = slot else { return made }
        slot = .nothing
        items.append(made)
        slot = .list(items)
        return made
    }

    /// Bytes are bytes here, not a list of numbers; addresses and identifiers are text.
    fileprivate func write(_ object: some Encodable) throws {
        switch object {
        case let value as Value: put(value)
        case let value as Data: put(.bytes(value))
        case let value as URL: put(.text(value.absoluteString))
        case let value as UUID: put(.text(value.uuidString))
        default: try object.encode(to: self)
        }
    }

    fileprivate func write(unsigned: some UnsignedInteger) throws {
        guard let value = Int64(exactly: unsigned) else { throw ValueError.tooLarge }
        put(.int(value))
    }

    fileprivate func write(float: Double) throws {
        guard float.isFinite else { throw ValueError.notFinite }
        put(.float(float))
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        beginMap()
        return KeyedEncodingContainer(Keyed(encoder: self))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        beginList()
        return Unkeyed(encoder: self)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer {
        Single(encoder: self)
    }
}

/// The place of an item in a list.
struct Place: CodingKey {
    let intValue: Int?
    let stringValue: String

    init(_ place: Int) {
        intValue = place
        stringValue = String(place)
    }

    init(intValue: Int) {
        self.init(intValue)
    }

    init?(stringValue: String) {
        nil
    }
}

private struct Single: SingleValueEncodingContainer {
    let encoder: ValueEncoder
    var codingPath: [any CodingKey] { encoder.codingPath }

    func encodeNil() { encoder.put(.null) }
    func encode(_ value: Bool) { encoder.put(.bool(value)) }
    func encode(_ value: String) { encoder.put(.text(value)) }
    func encode(_ value: Double) throws { try encoder.write(float: value) }
    func encode(_ value: Float) throws { try encoder.write(float: Double(value)) }
    func encode(_ value: Int) { encoder.put(.int(Int64(value))) }
    func encode(_ value: Int8) { encoder.put(.int(Int64(value))) }
    func encode(_ value: Int16) { encoder.put(.int(Int64(value))) }
    func encode(_ value: Int32) { encoder.put(.int(Int64(value))) }
    func encode(_ value: Int64) { encoder.put(.int(value)) }
    func encode(_ value: UInt) throws { try encoder.write(unsigned: value) }
    func encode(_ value: UInt8) throws { try encoder.write(unsigned: value) }
    func encode(_ value: UInt16) throws { try encoder.write(unsigned: value) }
    func encode(_ value: UInt32) throws { try encoder.write(unsigned: value) }
    func encode(_ value: UInt64) throws { try encoder.write(unsigned: value) }
    func encode(_ value: some Encodable) throws { try encoder.write(value) }
}

private struct Unkeyed: UnkeyedEncodingContainer {
    let encoder: ValueEncoder
    var codingPath: [any CodingKey] { encoder.codingPath }
    var count: Int { encoder.count }

    func encodeNil() { encoder.item().put(.null) }
    func encode(_ value: Bool) { encoder.item().put(.bool(value)) }
    func encode(_ value: String) { encoder.item().put(.text(value)) }
    func encode(_ value: Double) throws { try encoder.item().write(float: value) }
    func encode(_ value: Float) throws { try encoder.item().write(float: Double(value)) }
    func encode(_ value: Int) { encoder.item().put(.int(Int64(value))) }
    func encode(_ value: Int8) { encoder.item().put(.int(Int64(value))) }
    func encode(_ value: Int16) { encoder.item().put(.int(Int64(value))) }
    func encode(_ value: Int32) { encoder.item().put(.int(Int64(value))) }
    func encode(_ value: Int64) { encoder.item().put(.int(value)) }
    func encode(_ value: UInt) throws { try encoder.item().write(unsigned: value) }
    func encode(_ value: UInt8) throws { try encoder.item().write(unsigned: value) }
    func encode(_ value: UInt16) throws { try encoder.item().write(unsigned: value) }
    func encode(_ value: UInt32) throws { try encoder.item().write(unsigned: value) }
    func encode(_ value: UInt64) throws { try encoder.item().write(unsigned: value) }
    func encode(_ value: some Encodable) throws { try encoder.item().write(value) }

    func nestedContainer<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        encoder.item().container(keyedBy: type)
    }

    func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { encoder.item().unkeyedContainer() }
    func superEncoder() -> any Encoder { encoder.item() }
}

private struct Keyed<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let encoder: ValueEncoder
    var codingPath: [any CodingKey] { encoder.codingPath }

    func encodeNil(forKey key: Key) { encoder.entry(key).put(.null) }
    func encode(_ value: Bool, forKey key: Key) { encoder.entry(key).put(.bool(value)) }
    func encode(_ value: String, forKey key: Key) { encoder.entry(key).put(.text(value)) }
    func encode(_ value: Double, forKey key: Key) throws { try encoder.entry(key).write(float: value) }
    func encode(_ value: Float, forKey key: Key) throws { try encoder.entry(key).write(float: Double(value)) }
    func encode(_ value: Int, forKey key: Key) { encoder.entry(key).put(.int(Int64(value))) }
    func encode(_ value: Int8, forKey key: Key) { encoder.entry(key).put(.int(Int64(value))) }
    func encode(_ value: Int16, forKey key: Key) { encoder.entry(key).put(.int(Int64(value))) }
    func encode(_ value: Int32, forKey key: Key) { encoder.entry(key).put(.int(Int64(value))) }
    func encode(_ value: Int64, forKey key: Key) { encoder.entry(key).put(.int(value)) }
    func encode(_ value: UInt, forKey key: Key) throws { try encoder.entry(key).write(unsigned: value) }
    func encode(_ value: UInt8, forKey key: Key) throws { try encoder.entry(key).write(unsigned: value) }
    func encode(_ value: UInt16, forKey key: Key) throws { try encoder.entry(key).write(unsigned: value) }
    func encode(_ value: UInt32, forKey key: Key) throws { try encoder.entry(key).write(unsigned: value) }
    func encode(_ value: UInt64, forKey key: Key) throws { try encoder.entry(key).write(unsigned: value) }
    func encode(_ value: some Encodable, forKey key: Key) throws { try encoder.entry(key).write(value) }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) -> KeyedEncodingContainer<Nested> {
        encoder.entry(key).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        encoder.entry(key).unkeyedContainer()
    }

    func superEncoder() -> any Encoder { encoder.entry(Super()) }
    func superEncoder(forKey key: Key) -> any Encoder { encoder.entry(key) }
}

/// The key under which a class writes what its parent holds.
struct Super: CodingKey {
    let intValue: Int? = nil
    let stringValue = "super"

    init() {}
    init?(intValue: Int) { nil }
    init?(stringValue: String) { nil }
}
