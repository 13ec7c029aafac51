import Coatroom
import CoatroomBorder
import Foundation
import Testing

private func code(_ work: () async throws -> Void) async -> SessionError.Code? {
    do {
        try await work()
        return nil
    } catch {
        return (error as? SessionError)?.code
    }
}

@Suite struct Exchanges {
    let sessions: Sessions
    init() throws {
        sessions = try Sessions(store: "memory", keys: testKeys)
    }

    @Test func aLoginKeepsTheCartAndChangesTheId() async throws {
        var jar = Jar()
        try await sessions.visit(&jar) { try $0.set("cart", to: ["scarf", "hat"]) }
        let planted = jar
        try await sessions.visit(&jar) { try $0.login("ada", roles: ["buyer"]) }
        let (cart, who) = try await sessions.visit(&jar) { session in
            (try session.get("cart", as: [String].self), try session.principal)
        }
        #expect(cart == ["scarf", "hat"])
        #expect(who?.name == "ada" && who?.roles == ["buyer"] && who?.level == 1)
        var thief = planted
        let seen = try await sessions.visit(&thief) { try $0.principal }
        #expect(seen == nil)
    }

    @Test func aReadThatTouchesTheSessionVariesByCookieAndOthersDoNot() async throws {
        let touched = try await sessions.exchange(cookies: nil) { try $0.get("a", as: Int.self) }
        #expect(touched.vary == "Cookie" && touched.cacheControl == "no-store" && touched.setCookies == [])
        let untouched = try await sessions.exchange(cookies: nil) { _ in }
        #expect(untouched.vary == nil && untouched.cacheControl == nil)
    }

    @Test func theSynchronousWayIsTheSameWay() throws {
        let written = try sessions.exchangeNow(cookies: nil) { try $0.add("visits", 2) }
        var jar = Jar()
        jar.keep(written.setCookies)
        let read = try sessions.exchangeNow(cookies: jar.header) { try $0.get("visits", as: Int.self) }
        #expect(written.value == 2 && read.value == 2)
    }

    @Test func aHandlerSeesWhatItDid() async throws {
        var jar = Jar()
        try await sessions.visit(&jar) { session in
            for key in ["a", "b", "c"] { try session.set(key, to: key) }
        }
        try await sessions.visit(&jar) { session in
            try session.remove("a")
            try session.set("b", to: 2)
            try session.set("d", to: 4)
            #expect(try session.get("a", as: String.self) == nil && session.get("b", as: Int.self) == 2)
            #expect(try session.get("c", as: String.self) == "c" && session.keys == ["b", "c", "d"])
            try session.clear()
            try session.set("c", to: 3)
            #expect(try session.get("b", as: Int.self) == nil && session.get("c", as: Int.self) == 3)
            #expect(try session.keys == ["c"])
        }
        #expect(try await sessions.visit(&jar) { try $0.keys } == ["c"])
    }

    @Test func manyKeysAreReadAsFewAre() async throws {
        let keys = (10 ..< 60).map { "key \($0)" }
        var jar = Jar()
        try await sessions.visit(&jar) { session in
            for (n, key) in keys.enumerated() { try session.set(key, to: n) }
        }
        try await sessions.visit(&jar) { session in
            try session.set(keys[40], to: -1)
            try session.remove(keys[45])
            let read = try keys.map { try session.get($0, as: Int.self) }
            #expect(read == keys.indices.map { $0 == 40 ? -1 : $0 == 45 ? nil : $0 })
            #expect(try session.get("another", as: Int.self) == nil && session.keys.count == 49)
            try session.add("key 10", 5)
            #expect(try session.get("key 10", as: Int.self) == 5 && session.get(keys[1], as: Int.self) == 1)
        }
    }

    @Test func keysThatAreOneTextToSwiftAreToldApart() async throws {
        let (one, two) = ("caf\u{e9}", "cafe\u{301}")
        #expect(one == two)
        var jar = Jar()
        try await sessions.visit(&jar) { session in
            try session.set(one, to: 1)
            #expect(try session.get(two, as: Int.self) == nil)
            try session.set(two, to: 2)
        }
        try await sessions.visit(&jar) { session in
            #expect(try session.get(one, as: Int.self) == 1 && session.get(two, as: Int.self) == 2)
            try session.remove(one)
            #expect(try session.keys.map(\.utf8.count) == [two.utf8.count])
        }
    }

    @Test func aHandlerThatThrowsWritesNothing() async throws {
        struct Oops: Error {}
        var jar = Jar()
        try await sessions.visit(&jar) { try $0.set("a", to: 1) }
        await #expect(throws: Oops.self) {
            try await sessions.exchange(cookies: jar.header) { session in
                try session.set("a", to: 2)
                try session.login("ada")
                throw Oops()
            }
        }
        #expect(try await sessions.visit(&jar) { try $0.get("a", as: Int.self) } == 1)
    }

    // spec: WRITE-19 dc98
    @Test(arguments: ["memory", "application", "memory, now"])
    func aHandlerThatThrowsSparesNeitherASessionThatIsOverNorOneThatWasCopied(_ kind: String) async throws {
        struct Oops: Error {}
        let clock = ManualClock(ms: 1_700_000_000_000)
        let sessions =
            kind == "application"
            ? try Sessions(store: DictionaryStore(), keys: testKeys, clock: clock)
            : try Sessions(store: "memory", keys: testKeys, clock: clock)
        func fails(_ cookies: String) async {
            await #expect(throws: Oops.self) {
                if kind == "memory, now" {
                    _ = try sessions.exchangeNow(cookies: cookies) { try $0.login("eve"); throw Oops() }
                } else {
                    _ = try await sessions.exchange(cookies: cookies) { try $0.login("eve"); throw Oops() }
                }
            }
        }
        var jar = Jar()
        try await sessions.visit(&jar) { try $0.login("ada") }
        try await sessions.visit(&jar) { _ in }
        let copied = jar.header
        clock.ms += 61_000
        #expect(try await sessions.visit(&jar) { try $0.rotate() } == .rotated)
        try await sessions.visit(&jar) { _ in }
        clock.ms += 60_000
        await fails(copied)
        #expect(try await sessions.visit(&jar) { try $0.principal } == nil)

        try await sessions.visit(&jar) { try $0.login("ada") }
        clock.ms += 3_600_000
        await fails(jar.header)
        #expect(try await sessions.exchange(cookies: jar.header) { _ in }.trace.written == [], "the end was written")
    }

    @Test func whatIsAskedOfALoginIsCheckedOnTheRecord() async throws {
        let clock = ManualClock(ms: 1_700_000_000_000)
        let sessions = try Sessions(store: "memory", keys: testKeys, clock: clock)
        var jar = Jar()
        #expect(await code { _ = try await sessions.exchange(cookies: nil) { try $0.require(level: 0) } } == .unauthenticated)
        try await sessions.visit(&jar) { try $0.login("ada") }
        clock.ms += 600_000
        try await sessions.visit(&jar) { try $0.require(freshWithin: .seconds(600)) }
        let (late, weak) = (
            await code { _ = try await sessions.exchange(cookies: jar.header) { try $0.require(freshWithin: .seconds(599)) } },
            await code { _ = try await sessions.exchange(cookies: jar.header) { try $0.require(level: 2) } }
        )
        #expect(late == .notFresh && weak == .levelTooLow)
        try await sessions.visit(&jar) { session in
            try session.elevate(to: 2)
            try session.require(level: 2)
            try session.require(freshWithin: .zero)
        }
    }

    @Test func aSessionIsRefusedAfterItsExchange() async throws {
        let kept = try await sessions.exchange(cookies: nil) { $0 }.value
        #expect(await code { try kept.set("a", to: 1) } == .wrongStage)
        #expect(await code { _ = try kept.get("a", as: Int.self) } == .wrongStage)
        #expect(await code { try kept.login("ada") } == .wrongStage)
        #expect(await code { _ = try kept.principal } == .wrongStage)
    }

    @Test func anExchangeCommitsOnce() throws {
        let border = try Coatroom(
            config: Config(store: "memory", keys: testKeys, policy: CoatroomBorder.Policy()), clock: nil)
        let exchange = try border.begin(cookies: Data(), serial: false).exchange
        _ = try exchange.commit(edits: Data(), head: Head())
        #expect(throws: Refusal.self) { try exchange.commit(edits: Data(), head: Head()) }
        #expect(throws: Refusal.self) { try exchange.answer(answer: .done) }
    }

    @Test func bytesThatAreNoBatchAreRefusedAndDoNoHarm() throws {
        let border = try Coatroom(
            config: Config(store: "memory", keys: testKeys, policy: CoatroomBorder.Policy()), clock: nil)
        var bytes = Data((0 ..< 64).map { UInt8(truncatingIfNeeded: $0 &* 37) })
        var refused = 0
        for seed in 0 ..< 2000 {
            bytes[seed % 64] = bytes[seed % 64] &* 5 &+ UInt8(truncatingIfNeeded: seed)
            let exchange = try border.begin(cookies: bytes, serial: false).exchange
            do {
                // The one byte of an empty list is a batch.
                #expect(try exchange.apply(edits: bytes.prefix(1 + seed % 63)).data.isEmpty)
            } catch is Refusal {
                refused += 1
            }
        }
        #expect(refused > 1900)
    }

    @Test func whatWentWrongSaysWhatToDo() async throws {
        #expect(await code { _ = try Sessions(store: "memory", keys: "short") } == .config)
        #expect(await code { _ = try Sessions(store: "no-such:store", keys: testKeys) } == .config)
        #expect(await code { _ = try await sessions.exchange(cookies: nil) { try $0.elevate(to: 2) } } == .notLoggedIn)
        let role = await code { _ = try await sessions.exchange(cookies: nil) { try $0.require(role: "admin") } }
        #expect(role == .unauthenticated)
        let value = await code { _ = try await sessions.exchange(cookies: nil) { try $0.set("a", to: Double.nan) } }
        #expect(value == .value)
        do {
            _ = try Sessions(store: "memory", keys: "short")
        } catch let error as SessionError {
            #expect(error.message.contains("number:base64url") && !"\(error)".contains("short,"))
        }
    }

    @Test func anUpdateRunsOnWhatIsThere() async throws {
        var jar = Jar()
        try await sessions.visit(&jar) { try $0.update("n", as: Int.self) { ($0 ?? 40) + 1 } }
        try await sessions.visit(&jar) { try $0.update("n", as: Int.self) { ($0 ?? 0) + 1 } }
        #expect(try await sessions.visit(&jar) { try $0.get("n", as: Int.self) } == 42)
        struct Oops: Error {}
        let refused = await code {
            _ = try await sessions.exchange(cookies: nil) { try $0.update("n", as: Int.self) { _ in throw Oops() } }
        }
        #expect(refused == .updateRefused)
    }

    @Test func whoIsLoggedInTwiceSeesBothAndEndsBoth() async throws {
        var (phone, laptop) = (Jar(), Jar())
        try await sessions.visit(&phone) { try $0.login("ada") }
        try await sessions.visit(&laptop) { session in
            try session.login("ada")
            try session.setClient(label: "laptop", address: "192.0.2.1")
        }
        let devices = try await sessions.visit(&laptop) { try await $0.devices() }
        #expect(devices.count == 2 && devices.filter(\.isThis).map(\.label) == ["laptop"])
        let ended = try await sessions.visit(&laptop) { session in
            let ended = try await session.revokeAll()
            try session.logout()
            return ended
        }
        #expect(ended == 2 && laptop.cookies.isEmpty)
        #expect(try await sessions.visit(&phone) { try $0.principal } == nil)
    }

    @Test func aStrictExchangeIsRefusedWhenWhatItReadHasChanged() async throws {
        var jar = Jar()
        try await sessions.visit(&jar) { try $0.set("a", to: 1) }
        let cookies = jar.header
        let refused = await code {
            _ = try await sessions.exchange(cookies: cookies) { session in
                try session.strict()
                let a = try session.get("a", as: Int.self) ?? 0
                _ = try await sessions.exchange(cookies: cookies) { try $0.set("a", to: 7) }
                try session.set("a", to: a + 1)
            }
        }
        #expect(refused == .conflict)
    }
}

@Suite struct StoresOfTheApplication {
    let store = DictionaryStore()
    let sessions: Sessions
    init() throws {
        sessions = try Sessions(store: store, keys: testKeys)
    }

    @Test func aSessionLivesInAnyStore() async throws {
        var jar = Jar()
        try await sessions.visit(&jar) { try $0.set("cart", to: ["hat": 2]) }
        try await sessions.visit(&jar) { try $0.login("ada") }
        #expect(try await sessions.visit(&jar) { try $0.get("cart", as: [String: Int].self) } == ["hat": 2])
        #expect(try await sessions.devices(of: "ada").count == 1)
        #expect(try await sessions.revokeAll(of: "ada") == 1)
        #expect(try await sessions.visit(&jar) { try $0.principal } == nil)
    }

    @Test func aStoreThatThrowsOnALoadIsUnavailableAndNotNobody() async throws {
        var jar = Jar()
        try await sessions.visit(&jar) { try $0.set("a", to: 1) }
        await store.on(load: { throw DictionaryStore.Fault.broken })
        #expect(await code { _ = try await sessions.exchange(cookies: jar.header) { _ in } } == .unavailable)
    }

    @Test func aSwapThatWasNotDoneIsUnavailable() async throws {
        await store.on(swap: { throw NotDone() })
        #expect(await code { _ = try await sessions.exchange(cookies: nil) { try $0.set("a", to: 1) } } == .unavailable)
        #expect(await store.records.isEmpty)
    }

    @Test func aSwapThatThrewAfterItWasDoneCountsOnce() async throws {
        var jar = Jar()
        try await sessions.visit(&jar) { try $0.add("n", 1) }
        await store.on(swapped: { throw DictionaryStore.Fault.broken })
        try await sessions.visit(&jar) { try $0.add("n", 1) }
        await store.on()
        #expect(try await sessions.visit(&jar) { try $0.get("n", as: Int.self) } == 2)
    }

    @Test func twoWritesAtOnceBothSurvive() async throws {
        var jar = Jar()
        try await sessions.visit(&jar) { try $0.set("a", to: 1) }
        let cookies = jar.header
        _ = try await sessions.exchange(cookies: cookies) { outer in
            _ = try await sessions.exchange(cookies: cookies) { try $0.set("b", to: 2) }
            try outer.set("c", to: 3)
        }
        let keys = try await sessions.visit(&jar) { try $0.keys }
        #expect(keys == ["a", "b", "c"])
    }

    @Test func aCancellationDuringTheLoadWritesNothing() async throws {
        var jar = Jar()
        try await sessions.visit(&jar) { try $0.set("a", to: 1) }
        let (cookies, before) = (jar.header, await store.records)
        let (loading, go) = (Gate(), Gate())
        await store.on(load: { await loading.open(); await go.wait() })
        let task = Task { [sessions] in
            try await sessions.exchange(cookies: cookies) { try $0.set("a", to: 2) }.setCookies
        }
        await loading.wait()
        task.cancel()
        await go.open()
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(await store.records == before)
    }

    @Test func aCancellationDuringTheSwapFinishesTheWriteAndSaysSo() async throws {
        let (swapping, go) = (Gate(), Gate())
        await store.on(swap: { await swapping.open(); await go.wait(); try Task.checkCancellation() })
        let task = Task { [sessions] in
            try await sessions.exchange(cookies: nil) { try $0.set("a", to: 2) }.setCookies
        }
        await swapping.wait()
        task.cancel()
        await go.open()
        var jar = Jar()
        jar.keep(try await task.value)
        await store.on()
        #expect(try await sessions.visit(&jar) { try $0.get("a", as: Int.self) } == 2)
    }

    @Test func aHandlerThatWasCancelledWritesNothing() async throws {
        let task = Task { [sessions] in
            try await sessions.exchange(cookies: nil) { session in
                try session.set("a", to: 2)
                withUnsafeCurrentTask { $0?.cancel() }
            }.setCookies
        }
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(await store.records.isEmpty)
    }
}

@Suite(.serialized) struct Crowds {
    @Test(arguments: ["memory", "sqlite", "application"])
    func aThousandExchangesAtOnceAreAllCounted(_ kind: String) async throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID()).db").path
        defer { ["", "-wal", "-shm"].forEach { try? FileManager.default.removeItem(atPath: file + $0) } }
        let sessions =
            switch kind {
            case "application": try Sessions(store: DictionaryStore(), keys: testKeys)
            case "sqlite": try Sessions(store: "sqlite:\(file)", keys: testKeys)
            default: try Sessions(store: kind, keys: testKeys)
            }
        var jars: [String] = []
        for _ in 0 ..< 20 {
            var jar = Jar()
            try await sessions.visit(&jar) { try $0.set("n", to: 0) }
            jars.append(jar.header)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0 ..< 1000 {
                let cookies = jars[number % jars.count]
                group.addTask { try await sessions.addOnce(cookies) }
            }
            try await group.waitForAll()
        }
        for cookies in jars {
            let sum = try await sessions.exchange(cookies: cookies) { try $0.get("n", as: Int.self) }.value
            #expect(sum == 50)
        }
    }

    /// Each exchange carries 8 KiB both ways, so one that kept its buffer would show. `COATROOM_EXCHANGES=1000000` for
    /// the million.
    @Test func residentMemoryStaysFlat() async throws {
        let wanted = ProcessInfo.processInfo.environment["COATROOM_EXCHANGES"].flatMap(Int.init) ?? 10_000
        let sessions = try Sessions(store: "memory", keys: testKeys)
        let outside = try Sessions(store: DictionaryStore(), keys: testKeys)
        var (jar, other) = (Jar(), Jar())
        try await sessions.visit(&jar) { try $0.set("cart", to: Data(count: 8 << 10)) }
        try await outside.visit(&other) { try $0.set("cart", to: Data(count: 8 << 10)) }
        func run(_ count: Int) async throws {
            for number in 0 ..< count {
                let (sessions, cookies) = number % 2 == 0 ? (sessions, jar.header) : (outside, other.header)
                _ = try await sessions.exchange(cookies: cookies) { session in
                    _ = try session.get("cart", as: Data.self)
                    try session.set("n", to: number)
                }
                if number % 10 == 0 {
                    _ = try? await sessions.exchange(cookies: cookies) { _ in throw CancellationError() }
                }
            }
        }
        try await run(wanted / 5)
        let before = try residentBytes()
        try await run(wanted)
        let after = try residentBytes()
        let grown = after - before
        print("memory: \(before / 1024) KiB after \(wanted / 5) exchanges, \(after / 1024) KiB after \(wanted) more")
        #expect(grown < 8 << 20)
    }
}

extension Sessions {
    /// Busy says that nothing was written: asking again counts once.
    fileprivate func addOnce(_ cookies: String) async throws {
        do {
            _ = try await exchange(cookies: cookies) { try $0.add("n", 1) }
        } catch let error as SessionError where error.code == .busy {
            try await addOnce(cookies)
        }
    }
}

private func residentBytes() throws -> Int {
    let pages = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")[1]
    return (Int(pages) ?? 0) * 4096
}

/// Opens once; whoever waits goes on then.
private actor Gate {
    private var isOpen = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    func open() {
        isOpen = true
        waiting.forEach { $0.resume() }
        waiting = []
    }

    func wait() async {
        guard !isOpen else { return }
        await withCheckedContinuation { waiting.append($0) }
    }
}
