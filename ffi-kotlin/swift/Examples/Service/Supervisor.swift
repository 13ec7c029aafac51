import Coatroom
import Foundation

/// Opens the socket, keeps so many workers on it, and ends them with itself. Call it before any other thread is there.
func supervise(_ options: Options) throws {
    var signals = sigset_t()
    for number in [SIGTERM, SIGINT, SIGCHLD] { sigaddset(&signals, number) }
    sigprocmask(SIG_BLOCK, &signals, nil)
    let listening = try open(port: options.port)
    try prepare(options)
    var workers = try Set((0 ..< options.workers).map { _ in try worker(listening) })
    var number: Int32 = 0
    while sigwait(&signals, &number) == 0, number == SIGCHLD {
        while case let ended = waitpid(-1, nil, WNOHANG), ended > 0 { workers.remove(ended) }
        while workers.count < options.workers { workers.insert(try worker(listening)) }
    }
    for worker in workers { kill(worker, SIGKILL) }
    for worker in workers { waitpid(worker, nil, 0) }
}

/// What is wrong with the store or the policy is said before a worker starts.
private func prepare(_ options: Options) throws {
    guard let sessions = try options.sessions() else { return }
    let (done, failed) = (DispatchSemaphore(value: 0), Failed())
    Task {
        do {
            try await sessions.migrate()
            for warning in try await sessions.warnings() { complain("warning: \(warning)") }
        } catch {
            failed.error = error
        }
        done.signal()
    }
    done.wait()
    if let error = failed.error { throw error }
}

/// Written before a semaphore is signalled, read after.
private final class Failed: @unchecked Sendable {
    var error: (any Error)?
}

func complain(_ line: String) {
    FileHandle.standardError.write(Data("run swift: \(line)\n".utf8))
}

/// This program again, with the socket as its standard input.
private func worker(_ listening: Int32) throws -> pid_t {
    var (files, attributes, none, pid) = (posix_spawn_file_actions_t(), posix_spawnattr_t(), sigset_t(), pid_t())
    posix_spawn_file_actions_init(&files)
    posix_spawnattr_init(&attributes)
    defer {
        posix_spawn_file_actions_destroy(&files)
        posix_spawnattr_destroy(&attributes)
    }
    posix_spawn_file_actions_adddup2(&files, listening, Server.listening)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    let arguments = (CommandLine.arguments + ["--worker"]).map { strdup($0) } + [nil]
    defer { arguments.forEach { free($0) } }
    let failed = posix_spawn(&pid, "/proc/self/exe", &files, &attributes, arguments, environ)
    guard failed == 0 else {
        throw Options.Wrong(message: "no worker could be started: \(String(cString: strerror(failed)))")
    }
    return pid
}

private func open(port: UInt16) throws -> Int32 {
    let listening = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var yes: Int32 = 1
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let bound = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(listening, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
    guard bound == 0, listen(listening, 1024) == 0 else {
        throw Options.Wrong(message: "port \(port) is taken: \(String(cString: strerror(errno)))")
    }
    return listening
}
