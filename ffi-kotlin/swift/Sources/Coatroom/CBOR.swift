import Foundation

extension Value {
    /// The value of bytes that are exactly one value in its only encoding.
    public init(cbor: Data) throws(ValueError) {
        try self.init(Array(cbor)[...])
    }

    init(_ cbor: ArraySlice<UInt8>) throws(ValueError) {
        var reader = CBORReader(cbor)
        self = try reader.value(depth: Value.maxDepth)
        guard reader.isAtEnd else { throw .notCanonical }
    }

    /// The only encoding of this value.
    public func cbor() throws(ValueError) -> Data {
        Data(try encoded())
    }

    func encoded() throws(ValueError) -> [UInt8] {
        var writer = CBORWriter()
        try writer.value(self, depth: Value.maxDepth)
        return writer.bytes
    }
}

/// Writes each value in its shortest form.
struct CBORWriter {
    var bytes: [UInt8] = []

    mutating func head(_ major: UInt8, _ argument: UInt64) {
        let type = major << 5
        switch argument {
        case ..<24: bytes.append(type | UInt8(argument))
        case ...0xff: bytes += [type | 24, UInt8(argument)]
        case ...0xffff: bigEndian(type | 25, UInt16(argument))
        case ...0xffff_ffff: bigEndian(type | 26, UInt32(argument))
        default: bigEndian(type | 27, argument)
        }
    }

    private mutating func bigEndian<T: FixedWidthInteger>(_ first: UInt8, _ number: T) {
        bytes.append(first)
        withUnsafeBytes(of: number.bigEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func int(_ value: Int64) {
        value < 0 ? head(1, UInt64(bitPattern: ~value)) : head(0, UInt64(value))
    }

    mutating func text(_ value: String) {
        head(3, UInt64(value.utf8.count))
        bytes.append(contentsOf: value.utf8)
    }

    mutating func data(_ value: some Collection<UInt8>) {
        head(2, UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    mutating func list(_ count: Int) {
        head(4, UInt64(count))
    }

    mutating func float(_ value: Double) throws(ValueError) {
        guard value.isFinite else { throw .notFinite }
        let single = Float(value)
        guard Double(single) == value else { return bigEndian(0xfb, value.bitPattern) }
        if let half = Half.bits(single) { bigEndian(0xf9, half) } else { bigEndian(0xfa, single.bitPattern) }
    }

    mutating func value(_ value: Value, depth: Int) throws(ValueError) {
        switch value {
        case .null: bytes.append(0xf6)
        case .bool(let value): bytes.append(value ? 0xf5 : 0xf4)
        case .int(let value): int(value)
        case .float(let value): try float(value)
        case .text(let value): text(value)
        case .bytes(let value): data(value)
        case .list(let items):
            guard depth > 0 else { throw .tooDeep }
            list(items.count)
            for item in items { try self.value(item, depth: depth - 1) }
        case .map(let map):
            guard depth > 0 else { throw .tooDeep }
            head(5, UInt64(map.count))
            for (key, item) in map.sorted(by: { keyPrecedes($0.key, $1.key) }) {
                text(key)
                try self.value(item, depth: depth - 1)
            }
        }
    }
}

/// The order of map keys: of their encodings, so shorter keys come first.
func keyPrecedes(_ a: String, _ b: String) -> Bool {
    let (a, b) = (a.utf8, b.utf8)
    return a.count == b.count ? a.lexicographicallyPrecedes(b) : a.count < b.count
}

/// Floats of 16 bits, which not every platform's Swift has as a type.
enum Half {
    /// The bits of a float that fits without loss.
    static func bits(_ value: Float) -> UInt16? {
        let bits = value.bitPattern
        let sign = UInt16(truncatingIfNeeded: bits >> 16) & 0x8000
        let (exponent, fraction) = (Int(bits >> 23 & 0xff) - 127, bits & 0x7f_ffff)
        if value == 0 { return sign }
        if (-14...15).contains(exponent) {
            guard fraction & 0x1fff == 0 else { return nil }
            return sign | UInt16(exponent + 15) << 10 | UInt16(fraction >> 13)
        }
        // Subnormal: a multiple of 2^-24.
        guard (-24 ..< -14).contains(exponent) else { return nil }
        let (whole, shift) = (fraction | 0x80_0000, -1 - exponent)
        guard whole & (1 << shift - 1) == 0 else { return nil }
        return sign | UInt16(whole >> shift)
    }

    static func value(_ bits: UInt16) -> Double {
        let (exponent, fraction) = (Int(bits >> 10 & 0x1f), Double(bits & 0x3ff))
        let size = exponent == 0
            ? fraction * 0x1p-24
            : (1 + fraction / 1024) * Double(sign: .plus, exponent: exponent - 15, significand: 1)
        return bits & 0x8000 == 0 ? size : -size
    }
}

/// Reads what ``CBORWriter`` writes, and nothing else.
struct CBORReader {
    private let bytes: ArraySlice<UInt8>
    private var at: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        at = bytes.startIndex
    }

    var isAtEnd: Bool { at == bytes.endIndex }

    private mutating func take(_ count: Int) throws(ValueError) -> ArraySlice<UInt8> {
        guard bytes.endIndex - at >= count else { throw .notCanonical }
        defer { at += count }
        return bytes[at ..< at + count]
    }

    private mutating func byte() throws(ValueError) -> UInt8 {
        guard !isAtEnd else { throw .notCanonical }
        defer { at += 1 }
        return bytes[at]
    }

    private mutating func number(_ count: Int) throws(ValueError) -> UInt64 {
        try take(count).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// The argument of a head, which must be in its shortest form.
    private mutating func argument(_ short: UInt8) throws(ValueError) -> UInt64 {
        let (width, least): (Int, UInt64) =
            switch short {
            case ..<24: (0, 0)
            case 24: (1, 24)
            case 25: (2, 0x100)
            case 26: (4, 0x1_0000)
            case 27: (8, 0x1_0000_0000)
            default: throw .notCanonical
            }
        guard width > 0 else { return UInt64(short) }
        let argument = try number(width)
        guard argument >= least else { throw .notCanonical }
        return argument
    }

    /// A count of things that take at least a byte each.
    private mutating func count(_ short: UInt8) throws(ValueError) -> Int {
        let count = try argument(short)
        guard count <= UInt64(bytes.endIndex - at) else { throw .notCanonical }
        return Int(count)
    }

    private mutating func text(_ short: UInt8) throws(ValueError) -> String {
        let bytes = try take(count(short))
        guard let text = String(validating: bytes) else { throw .notCanonical }
        return text
    }

    mutating func value(depth: Int) throws(ValueError) -> Value {
        let first = try byte()
        let (major, short) = (first >> 5, first & 0x1f)
        switch major {
        case 0, 1:
            guard let size = Int64(exactly: try argument(short)) else { throw .notCanonical }
            return .int(major == 0 ? size : ~size)
        case 2: return .bytes(Data(try take(count(short))))
        case 3: return .text(try text(short))
        case 4:
            guard depth > 0 else { throw .tooDeep }
            var items: [Value] = []
            for _ in 0 ..< (try count(short)) { items.append(try value(depth: depth - 1)) }
            return .list(items)
        case 5: return try map(short, depth: depth)
        case 7: return try simple(short)
        default: throw .notCanonical
        }
    }

    private mutating func map(_ short: UInt8, depth: Int) throws(ValueError) -> Value {
        guard depth > 0 else { throw .tooDeep }
        var (map, last): ([String: Value], String?) = ([:], nil)
        for _ in 0 ..< (try count(short)) {
            let first = try byte()
            guard first >> 5 == 3 else { throw .notCanonical }
            let key = try text(first & 0x1f)
            guard last.map({ keyPrecedes($0, key) }) ?? true else { throw .notCanonical }
            let item = try value(depth: depth - 1)
            // Swift takes "é" and "e" with an accent for one text: better no value than half of one.
            guard map.updateValue(item, forKey: key) == nil else { throw .sameKeys }
            last = key
        }
        return .map(map)
    }

    private mutating func simple(_ short: UInt8) throws(ValueError) -> Value {
        let float: Double
        switch short {
        case 20: return .bool(false)
        case 21: return .bool(true)
        case 22: return .null
        case 25: float = Half.value(UInt16(try number(2)))
        case 26: float = Double(Float(bitPattern: UInt32(try number(4))))
        case 27: float = Double(bitPattern: try number(8))
        default: throw .notCanonical
        }
        var again = CBORWriter()
        try again.float(float)
        guard again.bytes.count == [25: 3, 26: 5, 27: 9][short] else { throw .notCanonical }
        return .float(float)
    }
}

extension String {
    /// The text of bytes that are well-formed UTF-8.
    init?(validating bytes: ArraySlice<UInt8>) {
        self.init(decoding: bytes, as: UTF8.self)
        // What is not well-formed was mended, and differs now.
        let isSame = withUTF8 { text in bytes.withUnsafeBufferPointer { $0.elementsEqual(text) } }
        guard isSame else { return nil }
    }
}
