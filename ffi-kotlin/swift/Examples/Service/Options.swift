import Coatroom
import Foundation

/// The command line of a conformance app.
struct Options: Sendable {
    struct Wrong: Error { let message: String }

    /// One fixed ring, so that several servers, and several runs, accept each other's ids.
    static let testRing = "1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE"
    static let usage = """
        usage: run swift --port PORT [--workers N] [--store memory|sqlite:PATH|file:PATH|redis:URL|postgres:URL|none]
            [--concurrency merge|strict|serial] [--idle-seconds S] [--absolute-seconds S] [--grace-seconds S]
            [--rotate-seconds S] [--lease-seconds S] [--skew-seconds S]
        """

    var port: UInt16 = 0
    var store = "memory"
    var workers = 1
    var policy = Policy()
    /// Started by a supervisor, with the listening socket as its standard input.
    var isWorker = false

    init(_ arguments: ArraySlice<String>) throws {
        var (left, skew) = (Array(arguments), Duration?.none)
        while !left.isEmpty {
            let flag = left.removeFirst()
            if flag == "--worker" {
                isWorker = true
                continue
            }
            guard flag != "--help" else { print(Self.usage); exit(0) }
            guard !left.isEmpty else { throw Wrong(message: "\(flag) needs a value\n\(Self.usage)") }
            let value = left.removeFirst()
            switch flag {
            case "--port": port = try Self.read(flag, UInt16(value))
            case "--store": store = value
            case "--workers": workers = try Self.read(flag, Int(value))
            case "--concurrency": policy.concurrency = try Self.read(flag, .init(rawValue: value))
            case "--idle-seconds": policy.idle = .after(try Self.seconds(flag, value))
            case "--absolute-seconds": policy.absolute = try Self.seconds(flag, value)
            case "--rotate-seconds": policy.rotateEvery = .after(try Self.seconds(flag, value))
            case "--lease-seconds": policy.lease = try Self.seconds(flag, value)
            case "--skew-seconds": skew = try Self.seconds(flag, value)
            case "--grace-seconds":
                let grace = try Self.seconds(flag, value)
                (policy.grace, policy.skew) = (grace, min(.seconds(5), grace / 4))
            default: throw Wrong(message: "there is no flag \(flag)\n\(Self.usage)")
            }
        }
        policy.skew = skew ?? policy.skew
        guard port > 0 else { throw Wrong(message: "--port is missing\n\(Self.usage)") }
        guard workers >= 1 else { throw Wrong(message: "--workers must be at least 1") }
        guard store != "memory" || workers == 1 else {
            throw Wrong(message: "--store memory belongs to one process: use --workers 1 or --store sqlite:PATH")
        }
    }

    /// The session layer; nil for the baseline without one.
    func sessions() throws -> Sessions? {
        guard store != "none" else { return nil }
        let environment = ProcessInfo.processInfo.environment
        var keys = environment["COATROOM_KEYS"] ?? ""
        if keys.isEmpty, let file = environment["COATROOM_KEYS_FILE"], !file.isEmpty {
            keys = try String(contentsOfFile: file, encoding: .utf8)
        }
        return try Sessions(store: store, keys: keys.isEmpty ? Self.testRing : keys, policy: policy)
    }

    private static func read<T>(_ flag: String, _ value: T?) throws -> T {
        guard let value else { throw Wrong(message: "\(flag) has a value that makes no sense") }
        return value
    }

    private static func seconds(_ flag: String, _ value: String) throws -> Duration {
        .milliseconds(Int64((try read(flag, Double(value)) * 1000).rounded()))
    }
}
