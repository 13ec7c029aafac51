@testable import Coatroom
import CoatroomBorder
import Foundation
import Testing

private typealias ManualClock = CoatroomBorder.ManualClock
private typealias Policy = CoatroomBorder.Policy

/// The vectors that every language plays: `spec/vectors/exchange/README.md` has their format.
@Suite struct Vectors {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../../../spec/vectors/exchange")

    static func read(_ name: String) throws -> String {
        try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
    }

    static func index() throws -> (cases: Int, files: [String: Int]) {
        var index = try Fields(JSONSerialization.jsonObject(with: Data(read("index.json").utf8)))
        let (cases, files): (Int, [String: Int]) = (try index.take("cases"), try index.take("files"))
        try index.end()
        return (cases, files)
    }

    @Test func everyCasePlaysAsItIsWritten() throws {
        let (all, files) = try Self.index()
        var sum = 0
        for (file, count) in files {
            let cases = try play(Self.read(file))
            #expect(cases == count, "\(file)")
            sum += cases
        }
        #expect(sum == all)
        print("vectors: \(sum) cases")
    }

    @Test func theIndexCountsEveryFile() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path)
        let files = Set(names.filter { $0.hasSuffix(".json") }).subtracting(["index.json"])
        #expect(try files == Set(Self.index().files.keys))
    }

    @Test(arguments: [
        (#""durable":true"#, #""durable":false"#), ("SameSite=Lax", "SameSite=lax"),
        (#""call": "saved""#, #""call": "kept""#), (#""now":"#, #""extra":1,"now":"#),
    ])
    func aDifferenceIsNoticed(_ old: String, _ new: String) throws {
        let text = try Self.read("visitors.json")
        let range = try #require(text.range(of: old))
        #expect(throws: (any Error).self) { try play(text.replacingCharacters(in: range, with: new)) }
    }
}

/// Plays the text of a file; how many cases it has.
func play(_ text: String) throws -> Int {
    var file = try Fields(JSONSerialization.jsonObject(with: Data(text.utf8)))
    let cases: [Any] = try file.take("cases")
    try file.end()
    for object in cases {
        var fields = try Fields(object)
        let name: String = try fields.take("name")
        let player = try Player(Fields(fields.any("given")))
        let steps: [Any] = try fields.take("steps")
        for (number, step) in steps.enumerated() {
            try player.play(Fields(step), "\(name), step \(number + 1)")
        }
        var then = try Fields(fields.any("then"))
        try expectSame(player.store, then.any("store"), "\(name), the store")
        try then.end()
        try fields.end()
    }
    return cases.count
}

/// One case under way.
private final class Player {
    let clock: ManualClock
    let sessions: Coatroom
    var store: [String: String] = [:]
    var exchanges: [String: Exchange] = [:]
    var asks: [String: Ask] = [:]

    init(_ given: Fields) throws {
        var given = given
        clock = ManualClock(unixMs: 0, seed: try unhex(given.take("seed")))
        let policy = try policy(Fields(given.any("settings")))
        let place: String? = try given.maybe("place")
        guard place == nil || place == "cookie" else { throw Unknown("place \(place!)") }
        sessions = try Coatroom(config: Config(store: place, keys: given.take("keys"), policy: policy), clock: clock)
        store = try given.maybe("store") ?? [:]
        try given.end()
    }

    func play(_ step: Fields, _ place: String) throws {
        var step = step
        let (call, name): (String, String) = (try step.take("call"), try step.take("exchange"))
        var args = try Fields(step.any("args"))
        let came: Any
        if call == "edits" {
            came = try edits(name, args.take("edits"))
        } else {
            do {
                came = try outcome(name, made(call, name, &args))
            } catch Refusal.Refused(let code, _, _, _, let events) {
                if code != "wrong-stage" { asks[name] = nil }
                let failed = ["failed": ["error": code, "events": events.map(\.name)] as [String: Any]]
                came = code == "wrong-stage" ? ["error": code] : failed
            }
        }
        try args.end()
        try expectSame(came, step.any("expect"), "\(place) (\(call))")
        try step.end()
    }

    private func made(_ call: String, _ name: String, _ args: inout Fields) throws -> Step {
        if call == "open" {
            clock.set(unixMs: try args.take("now"))
            let begun = try sessions.begin(cookies: unhex(args.take("cookies")), serial: false)
            exchanges[name] = begun.exchange
            return begun.step
        }
        guard let exchange = exchanges[name] else { throw Unknown("exchange \(name)") }
        switch call {
        case "close":
            clock.set(unixMs: try args.take("now"))
            return try exchange.commit(edits: Data(), head: Head())
        case "found":
            if let silent: Bool = try args.maybe("unavailable"), silent {
                return try exchange.answer(answer: .unavailable)
            }
            return try exchange.answer(answer: loaded(keep(name, args.any("record"))))
        case "saved":
            if case .swap(let handle, _, let record, _, _, _) = asks[name] { store[hex(handle)] = record.map(hex) }
            return try exchange.answer(answer: .done)
        case "unavailable": return try exchange.answer(answer: .unavailable)
        case "conflicted":
            return try exchange.answer(answer: .conflict(record: keep(name, args.any("record"))))
        case "unknown":
            // The driver then asks what is there, which is what the step says.
            let record = try keep(name, args.any("record"))
            guard case .ask(.load) = try exchange.answer(answer: .unknown) else { throw Unknown("no load after doubt") }
            return try exchange.answer(answer: loaded(record))
        case "entered":
            let (revoked, count): (Int64, Int) = (try args.take("revoked"), try args.take("count"))
            return try exchange.answer(
                answer: .entered(revokedMs: revoked, agoMs: nil, count: UInt32(count), before: nil))
        default: throw Unknown("call \(call)")
        }
    }

    /// The store holds this under the handle that the exchange asks for.
    private func keep(_ name: String, _ record: Any) throws -> Data? {
        let text = record as? String
        switch asks[name] {
        case .load(let handle), .swap(let handle, _, _, _, _, _): store[hex(handle)] = text
        default: break
        }
        return try text.map(unhex)
    }

    private func loaded(_ record: Data?) -> Answer {
        record.map { .found(record: $0) } ?? .absent
    }

    private func edits(_ name: String, _ edits: [Any]) throws -> Any {
        guard let exchange = exchanges[name] else { throw Unknown("exchange \(name)") }
        do {
            return ["results": try edits.map { try edit(exchange, Fields($0)) }]
        } catch Refusal.Refused(let code, _, _, _, _) {
            return ["error": code]
        }
    }

    private func edit(_ exchange: Exchange, _ fields: Fields) throws -> Any {
        var fields = fields
        let kind: String = try fields.take("edit")
        let word = ["get": "read", "head_sent": "head-sent"][kind] ?? kind
        var (batch, key): (Batch, String?) = (Batch(), nil)
        switch kind {
        case "get", "remove":
            key = try fields.take("key")
            batch.add(word) { $0.text(key!) }
        case "set":
            let (name, value): (String, String) = (try fields.take("key"), try fields.take("value"))
            let bytes = try unhex(value)
            batch.add(word) { $0.text(name); $0.data(bytes) }
        case "add":
            let (name, n): (String, Int64) = (try fields.take("key"), try fields.take("n"))
            batch.add(word) { $0.text(name); $0.int(n) }
        case "login":
            let (principal, roles): (String, [String]) = (try fields.take("principal"), try fields.take("roles"))
            let level: Int64 = try fields.take("level")
            batch.add(word) { writer in
                writer.text(principal)
                writer.list(roles.count)
                roles.forEach { writer.text($0) }
                writer.int(level)
            }
        case "elevate":
            let level: Int64 = try fields.take("level")
            batch.add(word) { $0.int(level) }
        case "client":
            let (label, address): (String, String) = (try fields.take("label"), try fields.take("address"))
            batch.add(word) { $0.text(label); $0.text(address) }
        case "clear", "logout", "rotate", "strict", "head_sent", "discard": batch.add(word)
        default: throw Unknown("edit \(kind)")
        }
        try fields.end()
        let view = try exchange.apply(edits: Data(batch.take()))
        switch kind {
        case "get": return view.data.first { $0.key == key }.map { hex($0.value) } as Any? ?? NSNull()
        case "add": return view.sum as Any? ?? NSNull()
        case "rotate": return view.rotation as Any? ?? NSNull()
        default: return NSNull()
        }
    }

    private func outcome(_ name: String, _ step: Step) throws -> Any {
        asks[name] = nil
        switch step {
        case .ask(let ask):
            asks[name] = ask
            return try asked(ask)
        case .open(let view): return ["handler": shown(view)]
        case .closed(let closed):
            let events = closed.trace.events.map(\.name)
            return ["done": ["cookies": closed.setCookies, "written": closed.trace.written, "events": events]]
        case .given: throw Unknown("a call for principals")
        }
    }

    private func asked(_ ask: Ask) throws -> Any {
        switch ask {
        case .load(let handle): return ["load": hex(handle)]
        case .enter(let made): return ["entry": entry(made)]
        case .swap(let handle, let expected, let record, let durable, let garbageAt, let listing):
            let listed: Any =
                switch listing {
                case .keep: NSNull()
                case .enter(let made): ["enter": entry(made)]
                case .leave(let principal): ["leave": principal]
                }
            return [
                "swap": [
                    "handle": hex(handle), "expected": expected.map(hex) as Any? ?? NSNull(),
                    "new": record.map(hex) as Any? ?? NSNull(), "durable": durable, "garbage_at": garbageAt,
                    "listing": listed,
                ] as [String: Any]
            ]
        default: throw Unknown("\(ask)")
        }
    }

    private func shown(_ view: View) -> [String: Any] {
        let person = view.person.map { ["name": $0.name, "roles": $0.roles, "level": Int($0.level)] as [String: Any] }
        let data = Dictionary(uniqueKeysWithValues: view.data.map { ($0.key, hex($0.value)) })
        return [
            "state": view.trace.state as Any? ?? NSNull(), "handle": view.trace.handle.map(hex) as Any? ?? NSNull(),
            "principal": person as Any? ?? NSNull(), "data": data,
        ]
    }

    private func entry(_ made: EntryParts) -> [String: Any] {
        [
            "principal": made.principal, "handle": hex(made.handle), "until": made.untilMs, "now": made.nowMs,
            "at_most": made.atMost.map { Int($0) } as Any? ?? NSNull(),
        ]
    }
}

private func policy(_ given: Fields) throws -> Policy {
    var (given, policy) = (given, Policy())
    func span(_ name: String) throws -> Int64? {
        guard let value = given.raw(name) else { return nil }
        return value is NSNull ? 0 : (value as? NSNumber)?.int64Value
    }
    policy.idle = try span("idle_ms")
    policy.touch = try span("touch_ms")
    policy.absolute = try span("absolute_ms")
    policy.activation = try span("activation_ms")
    policy.skew = try span("skew_ms")
    policy.grace = try span("grace_ms")
    policy.rotateEvery = try span("rotate_every_ms")
    policy.tombstone = try span("tombstone_ms")
    policy.size = try given.maybe("size")
    policy.sealed = try given.maybe("sealed")
    policy.concurrency = try given.maybe("concurrency")
    policy.reuse = try given.maybe("reuse")
    if let carry = given.raw("carry") {
        (policy.carry, policy.carryKeys) = (carry as? String ?? "keys", carry as? [String] ?? [])
    }
    if let limit = given.raw("limit") as? [Any] {
        (policy.beyond, policy.limit) = (limit[0] as? String, (limit[1] as? NSNumber)?.uint32Value)
    }
    try given.end()
    return policy
}
