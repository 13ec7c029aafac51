import Coatroom
import Foundation
import Testing

/// The examples of the pages compile: what stands there stands here too, between names that it takes for granted.
@Suite struct DocsTests {
    @Test func everyExampleOfThePagesIsCompiledHere() throws {
        let here = URL(fileURLWithPath: #filePath)
        let tree = here.deletingLastPathComponent().appendingPathComponent("../../../..")
        let source = lines(try String(contentsOf: here, encoding: .utf8))
        for page in ["README.md", "docs/swift.md"] {
            let text = try String(contentsOf: tree.appendingPathComponent(page), encoding: .utf8)
            let examples = text.components(separatedBy: "```swift\n").dropFirst().map {
                $0.components(separatedBy: "```")[0].replacingOccurrences(of: "import Coatroom\n", with: "")
            }
            #expect(!examples.isEmpty, "\(page)")
            for example in examples { #expect(source.contains(lines(example)), "\(page):\n\(example)") }
        }
    }

    /// However they are indented.
    private func lines(_ text: String) -> String {
        let trimmed = text.components(separatedBy: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        return trimmed.joined(separator: "\n").trimmingCharacters(in: .newlines)
    }
}

private struct Cart: Codable {
    let items: [String]
}

private struct User {
    let roles: [String]
}

private struct Request {
    let cookieHeader: String?
    let method: String
    let authorization: String?
}

private final class Response {
    func add(name: String, value: String) {}
}

private func first(_ keys: String, _ request: Request, _ response: Response) async throws {
    let sessions = try Sessions(store: "sqlite:sessions.db", keys: keys)

    let reply = try await sessions.exchange(cookies: request.cookieHeader, method: request.method) { session in
        try session.set("cart", to: ["scarf"])          // any Codable; a Python app beside it reads the same cart
        return try session.add("visits", 1)
    }
    reply.headers.forEach { response.add(name: $0.name, value: $0.value) }
}

private func exchange(_ keys: String, _ request: Request, _ response: Response) async throws {
    let sessions = try Sessions(store: "sqlite:sessions.db", keys: keys)

    let reply = try await sessions.exchange(cookies: request.cookieHeader, method: request.method) { session in
        try session.login("ada", roles: ["buyer"])
        try session.set("cart", to: Cart(items: ["scarf"]))          // any Codable
        return try session.add("visits", 1)                          // counted once each, whatever runs beside it
    }
    reply.headers.forEach { response.add(name: $0.name, value: $0.value) }
}

private func remembered(_ keys: String, _ users: [String: User]) throws -> Sessions {
    let sessions = try Sessions(store: "sqlite:sessions.db", keys: keys, remember: Remember { name in users[name]?.roles })
    return sessions
}

private func accessTokens(
    _ keys: String, _ tokenKeys: String, _ cookies: String?, _ jwks: String, _ request: Request
) async throws -> String {
    // has the sessions, and issues tokens
    let sessions = try Sessions(store: "redis://localhost", keys: keys, announce: true)
    let issuer = try Issuer("https://shop.example", audience: "orders", keys: tokenKeys)   // Issuer.newKey("2026-11")
    let answer = try await sessions.exchange(cookies: cookies, method: "POST") { try issuer.issue($0).json }   // POST /token

    // has none, and verifies
    let revocations = try Revocations(store: "redis://localhost", every: .seconds(2))
    let verifier = try Verifier(
        "https://shop.example", audience: "orders", keys: .public(jwks: jwks), revocations: revocations, within: .seconds(10))
    let claims = try verifier.verify(authorization: request.authorization)
    try claims.require(role: "customer")
    return answer.value
}
