import Coatroom
import Foundation
import Testing

@Suite struct RememberedLogins {
    private let cookie = "__Host-remember"
    private let clock = ManualClock(ms: 1_700_000_000_000)

    private func sessions(_ kind: String) throws -> Sessions {
        let remember = Remember { $0 == "ada" ? ["reader"] : nil }
        return kind == "application"
            ? try Sessions(store: DictionaryStore(), keys: testKeys, remember: remember, clock: clock)
            : try Sessions(store: kind, keys: testKeys, remember: remember, clock: clock)
    }

    private func pass(days: Int64) {
        clock.ms += days * 86_400_000
    }

    private func login(_ jar: inout Jar, _ sessions: Sessions) async throws {
        try await sessions.visit(&jar) { session in
            try session.login("ada")
            try session.remember()
        }
    }

    // spec: REM-1 bbac, REM-3 3625
    @Test(arguments: ["memory", "application"])
    func aRememberedLoginIsThereTheNextDayAndIsAWeakOne(_ kind: String) async throws {
        let sessions = try sessions(kind)
        var jar = Jar()
        try await login(&jar, sessions)
        #expect(Set(jar.cookies.keys) == ["__Host-id", cookie])
        pass(days: 1)
        let forged = try await sessions.exchange(cookies: jar.header, method: "POST") { try $0.principal?.name }
        #expect(forged.value == nil)
        let who = try await sessions.visit(&jar) { try $0.principal }
        #expect(who?.name == "ada" && who?.roles == ["reader"] && who?.level == 0)
        #expect(try await sessions.visit(&jar) { try $0.principal?.name } == "ada")
        await #expect(throws: SessionError.self) {
            try await sessions.exchange(cookies: jar.header) { try $0.require(freshWithin: .seconds(86_400)) }
        }
        await #expect(throws: SessionError.self) {
            try await sessions.exchange(cookies: jar.header) { try $0.remember() }
        }
        #expect(try await sessions.devices(of: "ada").count == 1)
    }

    // spec: REM-2 698a, REM-3 3625
    @Test(arguments: ["memory", "application"])
    func aCopyEndsEverythingOfItsOwnerOnceBothWereUsed(_ kind: String) async throws {
        let sessions = try sessions(kind)
        var jar = Jar()
        try await login(&jar, sessions)
        pass(days: 1)
        try await sessions.visit(&jar) { _ in }
        let copied = "\(cookie)=\(jar.cookies[cookie] ?? "")"
        for _ in 0 ..< 2 {
            pass(days: 1)
            try await sessions.visit(&jar) { _ in }
        }
        clock.ms += 31_000
        let found = try await sessions.exchange(cookies: copied) { try $0.principal?.name }
        #expect(found.value == nil && found.trace.events.map(\.name).contains("remembered reuse"))
        #expect(try await sessions.visit(&jar) { try $0.principal } == nil)
        pass(days: 1)
        #expect(try await sessions.visit(&jar) { try $0.principal } == nil)
    }

    // spec: REM-4 55b3
    @Test(arguments: ["memory", "application"])
    func aLogoutAndARevocationForget(_ kind: String) async throws {
        let sessions = try sessions(kind)
        for isLogout in [true, false] {
            var jar = Jar()
            try await login(&jar, sessions)
            let copied = jar.header
            try await sessions.visit(&jar) { session in
                if isLogout { try session.logout() } else { try await session.revokeAll() }
            }
            pass(days: 1)
            #expect(try await sessions.exchange(cookies: copied) { try $0.principal?.name }.value == nil)
        }
    }
}
