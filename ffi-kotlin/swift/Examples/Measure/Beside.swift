import Coatroom
import Foundation

/// Exchanges over Redis in rounds that `store/benches/redis.rs` asks for, each with the session that it has there too:
/// as a task makes them, and on the thread that asks.
func besideTheDriver(_ url: String) async throws {
    let sessions = try Sessions(store: url, keys: Sessions.newKey(1))
    let written = try sessions.exchangeNow(cookies: nil) { session in
        try session.login("ada", roles: ["admin"])
        try session.set("n", to: 0)
        try session.set("name", to: "Ada Lovelace")
        try session.set("cart", to: String(repeating: "x", count: 160))
    }
    let cookies = String(written.setCookies[0].prefix { $0 != ";" })
    // The first presentation writes.
    _ = try sessions.exchangeNow(cookies: cookies) { try $0.trace.trips }

    func read(_ session: Session) throws {
        guard try session.get("n", as: Int.self) != nil, try session.get("name", as: String.self) != nil else {
            throw CocoaError(.coderValueNotFound)
        }
    }
    while let line = readLine() {
        let parts = line.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, let count = Int(parts[0]) else { continue }
        var nanoseconds: [UInt64] = []
        for _ in 0 ..< count {
            let start = DispatchTime.now().uptimeNanoseconds
            switch parts[1] {
            case "read exchange": _ = try await sessions.exchange(cookies: cookies) { try read($0) }
            case "write exchange": _ = try await sessions.exchange(cookies: cookies) { try $0.add("n", 1) }
            case "read exchange now": _ = try sessions.exchangeNow(cookies: cookies) { try read($0) }
            case "write exchange now": _ = try sessions.exchangeNow(cookies: cookies) { try $0.add("n", 1) }
            default: continue
            }
            nanoseconds.append(DispatchTime.now().uptimeNanoseconds - start)
        }
        let answer = nanoseconds.map(String.init).joined(separator: " ") + "\n"
        FileHandle.standardOutput.write(Data(answer.utf8))
    }
}
