import Foundation

/// Threads that may wait for a disk or a network, which those of Swift's tasks must not. There are as many as wait at
/// once, for whoever waits for another's turn must not keep that other from a thread; those that nobody needs end
/// after a while.
final class Blocking: Sendable {
    static let shared = Blocking()

    private let desk = Desk()

    /// Runs `work` on such a thread.
    func run<T: Sendable>(_ work: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            if desk.put({ continuation.resume(with: Result(catching: work)) }) {
                let thread = Thread { [desk] in
                    while let next = desk.next() { next() }
                }
                thread.stackSize = 1 << 20
                thread.start()
            }
        }
    }

    private final class Desk: @unchecked Sendable {
        private let condition = NSCondition()
        private var work: [@Sendable () -> Void] = []
        private var idle = 0

        /// Whether another thread is needed for it.
        func put(_ next: @escaping @Sendable () -> Void) -> Bool {
            condition.lock()
            defer { condition.unlock() }
            work.append(next)
            condition.signal()
            return idle < work.count
        }

        /// What to do next; nil when there was nothing for ten seconds.
        func next() -> (@Sendable () -> Void)? {
            condition.lock()
            defer { condition.unlock() }
            idle += 1
            defer { idle -= 1 }
            let end = Date(timeIntervalSinceNow: 10)
            while work.isEmpty {
                if !condition.wait(until: end) && work.isEmpty { return nil }
            }
            return work.removeFirst()
        }
    }
}
