internal import CoatroomBorder
internal import CoatroomFFI
import Foundation

// The calls that exchanges make, without what the generated code spends on them: it reads its buffers through
// `Data`, field by field, which costs several times what the whole exchange does in Rust. What is read here is the
// same buffer in the same order, and most of it only if somebody asks. That both fit each other is checked where the
// generated code always checks it, when a `Coatroom` is made, and by the tests; uniffi is pinned exactly.

extension CoatroomBorder.Coatroom {
    /// As `begin`.
    func beginFast(_ cookies: String, serial: Bool) throws -> (exchange: CoatroomBorder.Exchange, step: ExchangeStep) {
        try begun(cookies) {
            uniffi_coatroom_ffi_fn_method_coatroom_begin(uniffiCloneHandle(), $0, serial ? 1 : 0, $1)
        }
    }

    /// As `beginRestoring`.
    func beginRestoringFast(_ cookies: String) throws -> (exchange: CoatroomBorder.Exchange, step: ExchangeStep) {
        try begun(cookies) { uniffi_coatroom_ffi_fn_method_coatroom_begin_restoring(uniffiCloneHandle(), $0, $1) }
    }

    @inline(__always)
    private func begun(
        _ cookies: String, _ call: (ForeignBytes, UnsafeMutablePointer<RustCallStatus>) -> RustBuffer
    ) throws -> (exchange: CoatroomBorder.Exchange, step: ExchangeStep) {
        var cookies = cookies
        var wire = Wire(try hot { status in cookies.withUTF8 { call(ForeignBytes($0), status) } })
        return (try FfiConverterTypeExchange_lift(wire.int()), try ExchangeStep(wire))
    }
}

extension CoatroomBorder.Exchange {
    /// As `answer`.
    func answerFast(_ answer: Answer) throws -> ExchangeStep {
        let lowered = FfiConverterTypeAnswer_lower(answer)
        return try ExchangeStep(
            Wire(hot { uniffi_coatroom_ffi_fn_method_exchange_answer(uniffiCloneHandle(), lowered, $0) }))
    }

    /// As `apply`.
    func applyFast(_ edits: [UInt8]) throws -> Sight {
        let buffer = try hot { status in
            edits.withUnsafeBufferPointer {
                uniffi_coatroom_ffi_fn_method_exchange_apply(uniffiCloneHandle(), ForeignBytes($0), status)
            }
        }
        return Sight(Wire(buffer))
    }

    /// As `update`.
    func updateFast(_ key: String, _ updater: any Updater) throws -> Sight {
        var key = key
        let lowered = key.withUTF8 { Wire.buffer($0) }
        let handle = FfiConverterTypeUpdater_lower(updater)
        return Sight(
            Wire(try hot { uniffi_coatroom_ffi_fn_method_exchange_update(uniffiCloneHandle(), lowered, handle, $0) }))
    }

    /// As `commit`.
    func commitFast(_ edits: [UInt8], _ head: Head) throws -> ExchangeStep {
        let isPlain = head.vary == nil && head.cacheControl == nil
        let lowered = isPlain ? [0, 0].withUnsafeBufferPointer(Wire.buffer) : FfiConverterTypeHead_lower(head)
        let buffer = try hot { status in
            edits.withUnsafeBufferPointer {
                uniffi_coatroom_ffi_fn_method_exchange_commit(uniffiCloneHandle(), ForeignBytes($0), lowered, status)
            }
        }
        return try ExchangeStep(Wire(buffer))
    }
}

/// What comes next in an exchange, as `CoatroomBorder.Step`.
enum ExchangeStep {
    case ask(Ask)
    case open(Sight)
    case closed(Settled)

    /// By the place of the case in the declaration of `Step`.
    fileprivate init(_ wire: Wire) throws {
        var wire = wire
        switch wire.int(Int32.self) {
        case 1: self = .ask(try FfiConverterTypeAsk_lift(wire.rest))
        case 2: self = .open(Sight(wire))
        case 3: self = .closed(Settled(wire))
        default: preconditionFailure("the native library is another version's")
        }
    }
}

/// All that a handler can see, as `CoatroomBorder.View`, in the bytes in which it came. Most handlers look at a key or
/// two: nothing is read before it is asked for.
struct Sight {
    private let wire: Wire

    fileprivate init(_ wire: Wire) {
        self.wire = wire
    }

    /// All keys in UTF-8 with their values in CBOR.
    var items: [([UInt8], ArraySlice<UInt8>?)] {
        var wire = wire
        return wire.list { (Array($0.bytes()), $0.bytes()) }
    }

    /// The value of a key.
    func value(of key: String) -> ArraySlice<UInt8>? {
        var wire = wire
        for _ in 0 ..< wire.int(Int32.self) {
            let (name, value) = (wire.bytes(), wire.bytes())
            if name.count == key.utf8.count && name.elementsEqual(key.utf8) { return value }
        }
        return nil
    }

    /// Who is logged in.
    var person: Person? {
        var wire = afterData
        return wire.person()
    }

    /// What the exchange found, and what closing it now would write.
    var trace: TraceParts {
        var wire = afterData
        _ = wire.person()
        return wire.trace()
    }

    /// What the last `add` and the last `rotate` of the batch came to.
    var came: (sum: Int64?, rotation: String?) {
        var wire = afterData
        _ = (wire.person(), wire.trace(), wire.int(Int64.self))
        defer { wire.end() }
        return (wire.maybe { $0.int() }, wire.maybe { $0.text() })
    }

    private var afterData: Wire {
        var wire = wire
        for _ in 0 ..< wire.int(Int32.self) {
            wire.skip()
            wire.skip()
        }
        return wire
    }
}

/// What goes into the response head, as `CoatroomBorder.Closed`. The trace is read when it is asked for.
struct Settled {
    let setCookies: [String]
    let vary: String?
    let cacheControl: String?
    private let wire: Wire

    fileprivate init(_ wire: Wire) {
        var wire = wire
        (setCookies, vary) = (wire.list { $0.text() }, wire.maybe { $0.text() })
        cacheControl = wire.maybe { $0.text() }
        self.wire = wire
    }

    /// What was done.
    var trace: TraceParts {
        var wire = wire
        // Whether the response depends on the session.
        _ = wire.int(UInt8.self)
        defer { wire.end() }
        return wire.trace()
    }
}

extension ForeignBytes {
    fileprivate init(_ bytes: UnsafeBufferPointer<UInt8>) {
        self.init(len: Int32(clamping: bytes.count), data: bytes.baseAddress)
    }
}

/// Makes a call; what it refuses is thrown as the generated code throws it.
@inline(__always)
private func hot(_ call: (UnsafeMutablePointer<RustCallStatus>) -> RustBuffer) throws -> RustBuffer {
    var status = RustCallStatus(code: 0, errorBuf: RustBuffer(capacity: 0, len: 0, data: nil))
    let buffer = call(&status)
    guard status.code != 0 else { return buffer }
    guard status.code == 1 else {
        Wire.free(status.errorBuf)
        throw SessionError(.init(rawValue: "internal"), "the native library failed: report what was done before it")
    }
    throw try FfiConverterTypeRefusal_lift(status.errorBuf)
}

/// Reads what uniffi writes: numbers big-endian, a length before texts, bytes and lists, a byte before what may be
/// absent.
private struct Wire {
    private let all: [UInt8]
    private var at = 0

    /// Takes the bytes out of a buffer and frees it.
    init(_ buffer: RustBuffer) {
        all = Array(UnsafeBufferPointer(start: buffer.data, count: Int(buffer.len)))
        Self.free(buffer)
    }

    static func buffer(_ bytes: UnsafeBufferPointer<UInt8>) -> RustBuffer {
        var status = RustCallStatus()
        return ffi_coatroom_ffi_rustbuffer_from_bytes(ForeignBytes(bytes), &status)
    }

    static func free(_ buffer: RustBuffer) {
        var status = RustCallStatus()
        ffi_coatroom_ffi_rustbuffer_free(buffer, &status)
    }

    /// What is left, for the generated code.
    var rest: RustBuffer {
        all[at...].withUnsafeBufferPointer(Self.buffer)
    }

    /// Everything must have been read.
    func end() {
        precondition(at == all.count, "the native library is another version's")
    }

    private mutating func take(_ count: Int) -> Range<Int> {
        precondition(count >= 0 && all.count - at >= count, "the native library is another version's")
        defer { at += count }
        return at ..< at + count
    }

    mutating func int<T: FixedWidthInteger>(_ type: T.Type = T.self) -> T {
        let place = take(MemoryLayout<T>.size)
        return T(bigEndian: all.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: place.lowerBound, as: T.self) })
    }

    mutating func bytes() -> ArraySlice<UInt8> {
        all[take(Int(int(Int32.self)))]
    }

    mutating func skip() {
        _ = take(Int(int(Int32.self)))
    }

    mutating func text() -> String {
        String(decoding: bytes(), as: UTF8.self)
    }

    mutating func list<T>(_ item: (inout Self) -> T) -> [T] {
        let count = Int(int(Int32.self))
        guard count > 0 else { return [] }
        return (0 ..< count).map { _ in item(&self) }
    }

    mutating func maybe<T>(_ item: (inout Self) -> T) -> T? {
        int(UInt8.self) == 0 ? nil : item(&self)
    }

    mutating func person() -> Person? {
        maybe {
            Person(name: $0.text(), roles: $0.list { $0.text() }, level: $0.int(), authenticatedAtMs: $0.int())
        }
    }

    mutating func trace() -> TraceParts {
        TraceParts(
            state: maybe { $0.text() }, handle: maybe { $0.text() }, generation: maybe { $0.int() },
            written: list { $0.text() }, trips: int(), idleLeftMs: maybe { $0.int() },
            absoluteLeftMs: maybe { $0.int() },
            events: list {
                Noticed(name: $0.text(), handle: $0.maybe { $0.text() }, cause: $0.maybe { $0.text() })
            })
    }
}
