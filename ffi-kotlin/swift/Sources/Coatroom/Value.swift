import Foundation

/// What a session can hold, the same in every language.
///
/// `get` and `set` of ``Session`` take any `Codable` type; this is what such a type becomes. Encoded, a value has
/// exactly one form (deterministic CBOR, RFC 8949 section 4.2.1), so that a Swift service writes the bytes that a
/// Python one does.
public enum Value: Sendable, Equatable {
    /// No value.
    case null
    /// True or false.
    case bool(Bool)
    /// An integer from -2^63 to 2^63 - 1.
    case int(Int64)
    /// A finite float; `1.0` stays a float.
    case float(Double)
    /// Text.
    case text(String)
    /// Bytes.
    case bytes(Data)
    /// A list.
    case list([Value])
    /// A map with text keys.
    case map([String: Value])

    /// Levels of lists and maps inside one value.
    public static let maxDepth = 32
}

/// Why something is not a value of a session.
public enum ValueError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A float is not a number, or infinite.
    case notFinite
    /// Lists and maps are nested more than ``Value/maxDepth`` deep.
    case tooDeep
    /// An unsigned integer is beyond 2^63 - 1.
    case tooLarge
    /// The bytes are not one value in its only encoding.
    case notCanonical
    /// Two keys of a map are one text to Swift, for it goes by canonical equivalence.
    case sameKeys

    /// What to do.
    public var description: String {
        switch self {
        case .notFinite: "a float is infinite or not a number: store a finite one, or text"
        case .tooDeep: "lists and maps are nested more than 32 deep: flatten the value"
        case .tooLarge: "an integer has no room in 63 bits: store it as text"
        case .sameKeys: "two keys of a map differ in their normal form alone: write them in one form"
        case .notCanonical: "the bytes are not one value in deterministic CBOR: encode them with this library"
        }
    }
}

extension Value: Codable {
    /// The value of whatever the decoder holds.
    public init(from decoder: any Decoder) throws {
        guard let known = decoder as? ValueDecoder else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "a `Value` is read from a session alone"))
        }
        self = known.value
    }

    /// Writes what the value holds.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .int(let value): try container.encode(value)
        case .float(let value): try container.encode(value)
        case .text(let value): try container.encode(value)
        case .bytes(let value): try container.encode(value)
        case .list(let value): try container.encode(value)
        case .map(let value): try container.encode(value)
        }
    }
}
