import Foundation

/// What a vector must not have.
struct Unknown: Error, CustomStringConvertible {
    let description: String

    init(_ what: String) {
        description = what
    }
}

/// An object of JSON of which nothing is passed over: what was not taken is an error.
struct Fields {
    private var left: [String: Any]

    init(_ object: Any) throws {
        guard let fields = object as? [String: Any] else { throw Unknown("\(object) is no object") }
        left = fields
    }

    mutating func raw(_ name: String) -> Any? {
        left.removeValue(forKey: name)
    }

    mutating func any(_ name: String) throws -> Any {
        guard let value = raw(name) else { throw Unknown("`\(name)` is missing beside \(left.keys)") }
        return value
    }

    mutating func maybe<T>(_ name: String) throws -> T? {
        guard let value = raw(name) else { return nil }
        guard let fits = value as? T else { throw Unknown("`\(name)` is \(value)") }
        return fits
    }

    mutating func take<T>(_ name: String) throws -> T {
        guard let value: T = try maybe(name) else { throw Unknown("`\(name)` is missing beside \(left.keys)") }
        return value
    }

    func end() throws {
        guard left.isEmpty else { throw Unknown("unknown fields \(left.keys)") }
    }
}

func expectSame(_ came: Any, _ expected: Any, _ place: String) throws {
    let texts = try [came, expected].map { object in
        let data = try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys])
        return String(decoding: data, as: UTF8.self)
    }
    guard texts[0] == texts[1] else { throw Unknown("\(place): \(texts[0]) instead of \(texts[1])") }
}

func hex(_ bytes: Data) -> String {
    bytes.map { String(format: "%02x", $0) }.joined()
}

/// The bytes of a handle, which crosses the border as base64url.
func hex(_ handle: String) -> String {
    let text = handle.replacing("-", with: "+").replacing("_", with: "/")
    return Data(base64Encoded: text).map { hex($0) } ?? handle
}

func unhex(_ text: String) throws -> Data {
    let digits = try text.utf8.map { digit -> UInt8 in
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        default: throw Unknown("\(text) is no hex")
        }
    }
    guard digits.count % 2 == 0 else { throw Unknown("\(text) has half a byte") }
    return Data(stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] })
}
