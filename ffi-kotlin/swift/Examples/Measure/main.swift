import Coatroom
import Foundation

// What a read exchange costs: memory store, a login with about 200 bytes of data, one value read, everything of the
// border included. Each figure is the least of many short batches, in microseconds of the thread's own time. Run it in
// release, over a library that was built in release. `ffi-kotlin/swift/bench` measures exchanges over Redis instead.

if let url = ProcessInfo.processInfo.environment["COATROOM_BENCH_REDIS"] {
    try await besideTheDriver(url)
    exit(0)
}

struct Item: Codable {
    let sku: String
    let count: Int
    let note: String
}

/// Processor time of this thread.
func ticks() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
    return Double(now.tv_sec) * 1e6 + Double(now.tv_nsec) / 1e3
}

func least(_ name: String, _ work: () throws -> Void) rethrows {
    var best = Double.infinity
    for _ in 0 ..< 400 {
        let start = ticks()
        for _ in 0 ..< 50 { try work() }
        best = min(best, (ticks() - start) / 50)
    }
    print("\(name): \((best * 100).rounded() / 100) µs")
}

let sessions = try Sessions(store: CommandLine.arguments.dropFirst().first ?? "memory", keys: Sessions.newKey(1))
let written = try sessions.exchangeNow(cookies: nil) { session in
    try session.login("ada")
    try session.set("user", to: "Ada Lovelace")
    try session.set("cart", to: [Item(sku: "coat", count: 1, note: String(repeating: "a warm one ", count: 13))])
    try session.set("visits", to: 41)
}
let cookies = written.setCookies[0].prefix { $0 != ";" }
// The first presentation writes; what is measured does not.
let first = try sessions.exchangeNow(cookies: String(cookies)) { try $0.trace.trips }
let bytes = try sessions.exchangeNow(cookies: String(cookies)) { session in
    try session.keys.reduce(0) { try $0 + $1.utf8.count + (session.getEncoded($1)?.count ?? 0) }
}.value
print("\(bytes) bytes of data, read in \(first.value) trip(s) to the store")

try least("a read exchange that reads one value") {
    _ = try sessions.exchangeNow(cookies: String(cookies)) { try $0.get("visits", as: Int.self) }
}
try least("a read exchange that decodes the cart") {
    _ = try sessions.exchangeNow(cookies: String(cookies)) { try $0.get("cart", as: [Item].self) }
}
try least("an exchange without a cookie") {
    _ = try sessions.exchangeNow(cookies: nil) { try $0.get("visits", as: Int.self) }
}
try least("a write exchange") {
    _ = try sessions.exchangeNow(cookies: String(cookies)) { try $0.add("visits", 1) }
}
