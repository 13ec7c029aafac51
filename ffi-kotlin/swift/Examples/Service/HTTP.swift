import Coatroom
import Foundation

/// As much of HTTP/1.1 as the contract needs: one request a connection, no bodies.
struct Request: Sendable {
    let method: String
    let path: String
    let parameters: [String: String]
    let cookies: String?

    /// Nil when it is not the head of a request.
    init?(head: Data) {
        var lines = String(decoding: head, as: UTF8.self).components(separatedBy: "\r\n")
        let first = lines.removeFirst().split(separator: " ")
        guard first.count == 3, first[2].hasPrefix("HTTP/1.") else { return nil }
        let target = first[1].split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        (method, path) = (String(first[0]), String(target[0]))
        var parameters: [String: String] = [:]
        for pair in target.count > 1 ? target[1].split(separator: "&") : [] {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let texts = parts.map { $0.replacing("+", with: " ").removingPercentEncoding ?? "" }
            parameters[texts[0]] = texts.count > 1 ? texts[1] : ""
        }
        self.parameters = parameters
        let named = lines.compactMap { line -> String? in
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, parts[0].lowercased() == "cookie" else { return nil }
            return parts[1].trimmingCharacters(in: .whitespaces)
        }
        cookies = named.isEmpty ? nil : named.joined(separator: "; ")
    }
}

struct Response: Sendable {
    let bytes: Data

    init(_ status: Int, _ body: [String: Value], _ headers: [(name: String, value: String)] = []) {
        let json = (try? JSONEncoder().encode(Value.map(body))) ?? Data("{}".utf8)
        var head = "HTTP/1.1 \(status) \(Self.reason(status))\r\nContent-Type: application/json\r\n"
        head += "Content-Length: \(json.count)\r\nConnection: close\r\n"
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        bytes = Data((head + "\r\n").utf8) + json
    }

    private static func reason(_ status: Int) -> String {
        [200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 409: "Conflict"][status] ?? "Error"
    }
}

/// Accepts connections on the socket that its supervisor has opened.
struct Server: Sendable {
    static let longestHead = 64 << 10
    /// The socket, as the supervisor hands it over.
    static let listening: Int32 = 0

    let contract: Contract

    init(_ contract: Contract) {
        self.contract = contract
    }

    func serve() {
        signal(SIGPIPE, SIG_IGN)
        let supervisor = getppid()
        Thread.detachNewThread {
            // A worker without its supervisor is nobody's.
            while getppid() == supervisor { Thread.sleep(forTimeInterval: 0.5) }
            exit(0)
        }
        while true {
            let connection = accept(Self.listening, nil, nil)
            if connection >= 0 { answer(connection) }
        }
    }

    private func answer(_ connection: Int32) {
        var patience = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        DispatchQueue.global().async {
            guard let head = Self.head(of: connection) else { return Self.end(connection) }
            Task {
                let response =
                    if head.count > Self.longestHead {
                        Response(431, ["error": .text("the head of the request is too long")])
                    } else if let request = Request(head: head) {
                        await contract.respond(request)
                    } else {
                        Response(400, ["error": .text("this is no request")])
                    }
                Self.send(response.bytes, to: connection)
                Self.end(connection)
            }
        }
    }

    /// What comes before the empty line; nil when the client went away.
    private static func head(of connection: Int32) -> Data? {
        var (head, buffer) = (Data(), [UInt8](repeating: 0, count: 16 << 10))
        let end = Data("\r\n\r\n".utf8)
        while head.count <= longestHead {
            let count = recv(connection, &buffer, buffer.count, 0)
            guard count > 0 else { return nil }
            let from = max(0, head.count - 3)
            head.append(contentsOf: buffer[..<count])
            if let found = head.range(of: end, in: from ..< head.count) { return head[..<found.lowerBound] }
        }
        return head
    }

    private static func send(_ bytes: Data, to connection: Int32) {
        bytes.withUnsafeBytes { raw in
            var left = raw[...]
            while !left.isEmpty {
                let count = write(connection, UnsafeRawBufferPointer(rebasing: left).baseAddress, left.count)
                guard count > 0 else { return }
                left = left.dropFirst(count)
            }
        }
    }

    /// Reads on for a moment, so that a client that is still sending gets the answer before the end.
    private static func end(_ connection: Int32) {
        shutdown(connection, Int32(SHUT_WR))
        var (patience, buffer) = (timeval(tv_sec: 0, tv_usec: 200_000), [UInt8](repeating: 0, count: 64 << 10))
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        for _ in 0 ..< 64 where recv(connection, &buffer, buffer.count, 0) <= 0 { break }
        close(connection)
    }
}
