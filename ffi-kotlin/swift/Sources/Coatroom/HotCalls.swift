internal import CoatroomBorder
internal import CoatroomFFI
import Foundation

// The calls that exchanges make, without what the generated code spends on them: it reads its buffers through
// `Data`, field by field, which costs several times what the whole exchange does in Rust. What is read here is the
// same buffer in the same order. That both fit each other is checked where the generated code always checks it, when a
// `Coatroom` is made, and by the tests; uniffi is pinned exactly.

extension CoatroomBorder.Coatroom {
    /// As `begin`.
    func beginFast(_ cookies: String, serial: Bool) throws -> Begun {
        var cookies = cookies
        let buffer = try hot { status in
            cookies.withUTF8 { utf8 in
                let bytes = ForeignBytes(len: Int32(clamping: utf8.count), data: utf8.baseAddress)
                return uniffi_coatroom_ffi_fn_method_coatroom_begin(uniffiCloneHandle(), bytes, serial ? 1 : 0, status)
            }
        }
        var wire = Wire(buffer)
        let (handle, kind) = (wire.int(UInt64.self), wire.int(Int32.self))
        guard kind == Wire.open else { return try FfiConverterTypeBegun_lift(buffer) }
        let view = wire.view()
        wire.end(buffer)
        return Begun(exchange: try FfiConverterTypeExchange_lift(handle), step: .open(view: view))
    }
}

extension CoatroomBorder.Exchange {
    /// As `apply`.
    func applyFast(_ edits: Data) throws -> View {
        let buffer = try hot { status in
            edits.withForeignBytes {
                uniffi_coatroom_ffi_fn_method_exchange_apply(uniffiCloneHandle(), $0, status)
            }
        }
        var wire = Wire(buffer)
        let view = wire.view()
        wire.end(buffer)
        return view
    }

    /// As `commit`.
    func commitFast(_ edits: Data, _ head: Head) throws -> Step {
        let lowered =
            head.vary == nil && head.cacheControl == nil ? Wire.buffer([0, 0]) : FfiConverterTypeHead_lower(head)
        let buffer = try hot { status in
            edits.withForeignBytes {
                uniffi_coatroom_ffi_fn_method_exchange_commit(uniffiCloneHandle(), $0, lowered, status)
            }
        }
        var wire = Wire(buffer)
        guard wire.int(Int32.self) == Wire.closed else { return try FfiConverterTypeStep_lift(buffer) }
        let closed = wire.closed()
        wire.end(buffer)
        return .closed(closed: closed)
    }
}

extension Data {
    fileprivate func withForeignBytes<T>(_ work: (ForeignBytes) -> T) -> T {
        withUnsafeBytes { raw in
            work(ForeignBytes(len: Int32(raw.count), data: raw.baseAddress?.assumingMemoryBound(to: UInt8.self)))
        }
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
    /// Cases of `Step`, by their place in its declaration.
    static let (open, closed): (Int32, Int32) = (2, 3)

    private var at: UnsafeRawPointer
    private let limit: UnsafeRawPointer

    init(_ buffer: RustBuffer) {
        guard let data = buffer.data else { preconditionFailure("the native library gave nothing") }
        at = UnsafeRawPointer(data)
        limit = at + Int(buffer.len)
    }

    static func buffer(_ bytes: [UInt8]) -> RustBuffer {
        var status = RustCallStatus()
        return bytes.withUnsafeBufferPointer { pointer in
            ffi_coatroom_ffi_rustbuffer_from_bytes(
                ForeignBytes(len: Int32(pointer.count), data: pointer.baseAddress), &status)
        }
    }

    static func free(_ buffer: RustBuffer) {
        var status = RustCallStatus()
        ffi_coatroom_ffi_rustbuffer_free(buffer, &status)
    }

    /// Everything must have been read.
    func end(_ buffer: RustBuffer) {
        precondition(at == limit, "the native library is another version's")
        Self.free(buffer)
    }

    private mutating func take(_ count: Int) -> UnsafeRawBufferPointer {
        precondition(count >= 0 && limit - at >= count, "the native library is another version's")
        defer { at += count }
        return UnsafeRawBufferPointer(start: at, count: count)
    }

    mutating func int<T: FixedWidthInteger>(_ type: T.Type = T.self) -> T {
        T(bigEndian: take(MemoryLayout<T>.size).loadUnaligned(as: T.self))
    }

    private mutating func text() -> String {
        String(decoding: take(Int(int(Int32.self))), as: UTF8.self)
    }

    private mutating func bytes() -> Data {
        Data(take(Int(int(Int32.self))))
    }

    private mutating func list<T>(_ item: (inout Self) -> T) -> [T] {
        let count = Int(int(Int32.self))
        guard count > 0 else { return [] }
        return (0 ..< count).map { _ in item(&self) }
    }

    private mutating func maybe<T>(_ item: (inout Self) -> T) -> T? {
        int(UInt8.self) == 0 ? nil : item(&self)
    }

    mutating func view() -> View {
        View(
            data: list { Item(key: $0.text(), value: $0.bytes()) },
            person: maybe {
                Person(
                    name: $0.text(), roles: $0.list { $0.text() }, level: $0.int(), authenticatedAtMs: $0.int())
            },
            trace: trace(), nowMs: int(), sum: maybe { $0.int() }, rotation: maybe { $0.text() })
    }

    mutating func closed() -> Closed {
        Closed(
            setCookies: list { $0.text() }, vary: maybe { $0.text() }, cacheControl: maybe { $0.text() },
            touched: int(UInt8.self) != 0, trace: trace())
    }

    private mutating func trace() -> TraceParts {
        TraceParts(
            state: maybe { $0.text() }, handle: maybe { $0.text() }, generation: maybe { $0.int() },
            written: list { $0.text() }, trips: int(), idleLeftMs: maybe { $0.int() },
            absoluteLeftMs: maybe { $0.int() },
            events: list {
                Noticed(name: $0.text(), handle: $0.maybe { $0.text() }, cause: $0.maybe { $0.text() })
            })
    }
}
