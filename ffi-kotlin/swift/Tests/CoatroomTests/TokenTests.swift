import Coatroom
import Foundation
import Testing

private let shop = "https://shop.example"
private let ed = "ed-1:EdDSA:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3I"
private let hs = "hs-1:HS256:YW5vdGhlciB0ZXN0IGtleSwgYW5kIG5vIHNlY3JldCEh"

/// Access tokens: the vectors that every language plays, and the way from a login to a verifier and back from a logout.
@Suite struct Tokens {
    static let folder = Vectors.folder.appendingPathComponent("../tokens")

    static func read(_ name: String) throws -> String {
        try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
    }

    static func index() throws -> (cases: Int, files: [String: Int], given: [String: String]) {
        var index = try Fields(JSONSerialization.jsonObject(with: Data(read("index.json").utf8)))
        let (cases, files): (Int, [String: Int]) = (try index.take("cases"), try index.take("files"))
        let given: [String: String] = try index.take("given")
        try index.end()
        return (cases, files, given)
    }

    // spec: TOKEN-4 0830, TOKEN-5 0209, TOKEN-6 8261, TOKEN-7 8b63, TOKEN-10 2a12, TOKEN-11 f067
    @Test func everyTokenIsJudgedAsItIsWritten() throws {
        let (all, files, given) = try Self.index()
        var sum = 0
        for (file, count) in files {
            let cases = try playTokens(given, Self.read(file))
            #expect(cases == count, "\(file)")
            sum += cases
        }
        #expect(sum == all)
        print("tokens: \(sum) cases")
    }

    @Test func theIndexCountsEveryFile() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path)
        let files = Set(names.filter { $0.hasSuffix(".json") }).subtracting(["index.json"])
        #expect(try files == Set(Self.index().files.keys))
    }

    @Test(arguments: [
        ("accepted.json", #""level":1"#, #""level":2"#), ("texts.json", #""now":"#, #""extra": 1, "now":"#),
        ("algorithms.json", #"{"refused":"algorithm"}"#, #"{"refused":"signature"}"#),
    ])
    func aDifferenceIsNoticed(_ file: String, _ old: String, _ new: String) throws {
        let (text, given) = (try Self.read(file), try Self.index().given)
        let range = try #require(text.range(of: old))
        #expect(throws: Unknown.self) { try playTokens(given, text.replacingCharacters(in: range, with: new)) }
    }

    /// An application that issues tokens and a service that verifies them, which share a store and nothing else.
    private struct Site {
        static let start: Int64 = 1_763_726_400_000
        let clock = ManualClock(ms: start)
        let sessions: Sessions
        let issuer: Issuer
        let revocations: Revocations
        var jar = Jar()

        init(_ store: String = "memory", keys: String = ed) throws {
            sessions = try Sessions(store: store, keys: testKeys, announce: true, clock: clock)
            issuer = try Issuer(shop, audience: "orders", keys: keys)
            revocations = try store == "memory"
                ? Revocations(of: sessions, every: nil, clock: clock) : Revocations(store: store, every: nil, clock: clock)
        }

        func verifier(_ keys: VerifierKeys? = nil, late: Verifier.Late = .refuse) throws -> Verifier {
            try Verifier(
                shop, audience: "orders", keys: keys ?? .public(jwks: issuer.jwks), revocations: revocations, late: late,
                clock: clock)
        }

        mutating func login() async throws {
            try await sessions.visit(&jar) { try $0.login("ada", roles: ["admin"], level: 2) }
        }

        mutating func token() async throws -> Token {
            let issuer = issuer
            return try await sessions.visit(&jar) { try issuer.issue($0) }
        }
    }

    private func refused(_ reason: TokenError.Reason, _ work: () throws -> Claims) {
        #expect { try work() } throws: { ($0 as? TokenError)?.reason == reason }
    }

    // spec: TOKEN-1 6e31, TOKEN-2 9702
    @Test(arguments: [ed, hs])
    func aTokenSaysWhoIsLoggedInAndIsVerifiedElsewhere(_ keys: String) async throws {
        var site = try Site(keys: keys)
        try await site.revocations.pull()
        try await site.login()
        let token = try await site.token()
        let verifier = try site.verifier(keys == hs ? .shared(hs) : nil)
        let claims = try verifier.verify(authorization: "bearer \(token.text)")
        #expect(claims.principal == "ada" && claims.roles == ["admin"] && claims.level == 2)
        #expect(claims.expiresAt == token.expiresAt && token.lifetime == .seconds(300) && claims.heard == .inTime)
        let devices = try await site.sessions.devices(of: "ada")
        #expect(devices.map(\.handle) == [claims.handle])
        #expect(token.json.hasSuffix(#""token_type": "Bearer", "expires_in": 300}"#))
        try claims.require(role: "admin")
        #expect(throws: SessionError.self) { try claims.require(role: "root") }
        var told = "\(token)"
        dump(token, to: &told)
        #expect(!told.contains(token.text))
        site.clock.ms += 310_000
        refused(.expired) { try verifier.verify(token.text) }
    }

    // spec: TOKEN-3 c1a8
    @Test func nobodyGetsNoTokenAndALoginThatIsNotStoredNoneYet() async throws {
        var site = try Site()
        let issuer = site.issuer
        func code(_ handler: @escaping @Sendable (Session) throws -> Void) async throws -> SessionError.Code? {
            do { try await site.sessions.visit(&site.jar, handler) } catch let error as SessionError { return error.code }
            return nil
        }
        #expect(try await code { _ = try issuer.issue($0) } == .unauthenticated)
        #expect(try await code { try $0.login("ada"); _ = try issuer.issue($0) } == .notIssued)
        try await site.login()
        #expect(try await code { try $0.logout(); _ = try issuer.issue($0) } == .unauthenticated)
    }

    // spec: TOKEN-12 c154, TOKEN-13 0b79, FEED-5 77d0
    @Test(arguments: ["memory", "sqlite", "file"])
    func aLogoutReachesAVerifierWithTheNextPull(_ store: String) async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        var site = try Site(store == "memory" ? store : "\(store):\(folder.path)/sessions")
        let verifier = try site.verifier()
        try await site.login()
        let token = try await site.token()
        refused(.stale) { try verifier.verify(token.text) }
        #expect(try await site.revocations.pull() == 0)
        _ = try verifier.verify(token.text)
        try await site.sessions.visit(&site.jar) { try $0.logout() }
        _ = try verifier.verify(token.text)
        #expect(try await site.revocations.pull() == 1 && site.revocations.count == 1)
        refused(.revoked) { try verifier.verify(token.text) }
    }

    // spec: TOKEN-13 0b79
    @Test func whoHasNotHeardForLongerThanTheBoundSaysSoOrWasToldToAcceptIt() async throws {
        var site = try Site()
        try await site.revocations.pull()
        try await site.login()
        let (token, verifier) = (try await site.token(), try site.verifier())
        site.clock.ms += 10_000
        _ = try verifier.verify(token.text)
        site.clock.ms += 1
        #expect { try verifier.verify(token.text) } throws: { error in
            let error = error as? TokenError
            return error?.reason == .stale && error?.status == 503 && error?.challenge == nil
        }
        #expect(try site.verifier(late: .accept).verify(token.text).heard == .tooLongAgo)
    }

    // spec: TOKEN-8 d2bf, TOKEN-9 8191
    @Test func keysAreChangedWithoutRefusingALiveToken() async throws {
        var site = try Site()
        try await site.revocations.pull()
        try await site.login()
        let (old, verifier) = (try await site.token(), try site.verifier())
        let both = try Issuer(shop, audience: "orders", keys: "\(try Issuer.newKey("2027-01")),\(ed)")
        let new = try await site.sessions.visit(&site.jar) { try both.issue($0) }
        refused(.unknownKey) { try verifier.verify(new.text) }
        try verifier.setKeys(.public(jwks: both.jwks))
        #expect(try [old, new].map { try verifier.verify($0.text).principal } == ["ada", "ada"])
        #expect(throws: SessionError.self) { try verifier.setKeys(.public(jwks: "{}")) }
        #expect(try verifier.verify(new.text).principal == "ada")
    }

    @Test func mistakesAreRefusedAtStart() throws {
        let mistakes: [() throws -> Any] = [
            { try Issuer("", audience: "orders", keys: ed) },
            { try Issuer(shop, audience: "orders", keys: "ed-1:EdDSA:c2hvcnQ") },
            { try Issuer(shop, audience: "orders", keys: ed, lifetime: .seconds(3601)) },
            { try Verifier(shop, audience: "orders", keys: .shared(ed)) },
            { try Verifier(shop, audience: "orders", keys: .shared(hs), leeway: .seconds(61)) },
            { try Revocations(store: "cookie") },
            { try Sessions(store: "cookie", keys: testKeys, announce: true) },
            { try Revocations(of: Sessions(store: DictionaryStore(), keys: testKeys)) },
        ]
        for mistake in mistakes {
            #expect { try mistake() } throws: { ($0 as? SessionError)?.code == .config }
        }
        let verifier = try Verifier(shop, audience: "orders", keys: .shared(hs))
        refused(.missing) { try verifier.verify(authorization: "Basic abc") }
        refused(.missing) { try verifier.verify(authorization: nil) }
    }
}

/// Plays the text of a file; how many cases it has.
private func playTokens(_ given: [String: String], _ text: String) throws -> Int {
    let clock = ManualClock(ms: 0)
    func verifier(_ keys: VerifierKeys) throws -> Verifier {
        try Verifier(given["issuer"] ?? "", audience: given["audience"] ?? "", keys: keys, clock: clock)
    }
    let verifiers = [
        "eddsa": try verifier(.public(jwks: given["jwks"] ?? "")), "hs256": try verifier(.shared(given["hs256"] ?? "")),
    ]
    var file = try Fields(JSONSerialization.jsonObject(with: Data(text.utf8)))
    let cases: [Any] = try file.take("cases")
    try file.end()
    for object in cases {
        var fields = try Fields(object)
        let (name, keys): (String, String) = (try fields.take("name"), try fields.take("keys"))
        let now: Int64 = try fields.take("now")
        clock.ms = now * 1000
        let token: String? = try fields.maybe("token")
        let bytes = try token.map { Data($0.utf8) } ?? unhex(fields.take("bytes"))
        guard let verifier = verifiers[keys] else { throw Unknown("no keys \(keys)") }
        try expectSame(judged(verifier, bytes), sorted(fields.any("expect")), name)
        try fields.end()
    }
    return cases.count
}

/// What a verifier says, as the vectors write it.
private func judged(_ verifier: Verifier, _ token: Data) throws -> [String: Any] {
    do {
        let claims = try verifier.verify(token)
        let stated: [String: Any] = [
            "sub": claims.principal, "sid": claims.handle.text, "jti": claims.tokenID, "level": Int(claims.level),
            "roles": claims.roles.sorted(), "iat_ms": Int64((claims.issuedAt.timeIntervalSince1970 * 1000).rounded()),
            "exp_ms": Int64((claims.expiresAt.timeIntervalSince1970 * 1000).rounded()),
        ]
        return ["claims": stated]
    } catch let error as TokenError {
        let parts = String(decoding: token, as: UTF8.self).split(separator: ".").filter { $0.count > 8 }
        if parts.contains(where: { error.message.contains($0) }) { throw Unknown("the message tells of the token") }
        return ["refused": error.reason.rawValue]
    }
}

/// Roles in an order: a set has none.
private func sorted(_ expect: Any) throws -> Any {
    guard let expect = expect as? [String: Any], var claims = expect["claims"] as? [String: Any] else { return expect }
    claims["roles"] = (claims["roles"] as? [String])?.sorted()
    return ["claims": claims]
}
