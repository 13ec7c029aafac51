import Coatroom
import Foundation

/// The routes that all conformance apps share.
struct Contract: Sendable {
    struct BadParameter: Error { let message: String }

    let sessions: Sessions?

    init(_ options: Options) throws {
        sessions = try options.sessions()
    }

    func respond(_ request: Request) async -> Response {
        do {
            guard let route = Self.routes["\(request.method) \(request.path)"] else {
                return Response(404, ["error": .text("there is nothing at \(request.path)")])
            }
            guard let sessions else { return try Self.withoutSessions(request) }
            let exchanged = try await sessions.exchange(cookies: request.cookies, method: request.method) { session in
                try await route(session, request)
            }
            return Response(200, exchanged.value, exchanged.headers)
        } catch let error as BadParameter {
            return Response(400, ["error": .text(error.message)])
        } catch let error as SessionError {
            var headers = [(name: "Cache-Control", value: "no-store")]
            if error.status == 503 { headers.append((name: "Retry-After", value: "1")) }
            return Response(error.status, ["error": .text(error.message)], headers)
        } catch {
            return Response(500, ["error": .text("\(error)")])
        }
    }

    private static func withoutSessions(_ request: Request) throws -> Response {
        switch request.path {
        case "/me": Response(200, ["user": .null, "views": .int(0), "keys": .map([:])])
        case "/incr": Response(200, ["views": .int(1)])
        default: Response(404, ["error": .text("there are no sessions")])
        }
    }

    private typealias Route = @Sendable (Session, Request) async throws -> [String: Value]

    private static let routes: [String: Route] = [
        "GET /me": { session, request in
            try await request.pause()
            var (views, others) = (Value.int(0), [String: Value]())
            for key in try session.keys {
                let value = try session.get(key, as: Value.self) ?? .null
                if key == "views" { views = value } else { others[key] = value }
            }
            let user = try session.principal.map { Value.text($0.name) } ?? .null
            return ["user": user, "views": views, "keys": .map(others)]
        },
        "POST /login": { session, request in
            try session.login(request.text("user"))
            return ["ok": .bool(true)]
        },
        "POST /logout": { session, _ in
            try session.logout()
            return ["ok": .bool(true)]
        },
        "POST /incr": { session, request in
            let views = (try session.get("views", as: Int.self) ?? 0) + 1
            try await request.pause()
            try session.set("views", to: views)
            return ["views": .int(Int64(views))]
        },
        "POST /add": { session, request in
            try await request.pause()
            return ["views": .int(try session.add("views", 1))]
        },
        "POST /set": { session, request in
            let key = try request.text("k")
            guard key != "views" else { throw BadParameter(message: "the key views belongs to /incr and /add") }
            try await request.pause()
            try session.set(key, to: request.parameters["v"] ?? "")
            return ["ok": .bool(true)]
        },
        "POST /rotate": { session, _ in
            ["rotated": .bool(try session.rotate() == .rotated)]
        },
        "GET /sessions": { session, _ in
            let devices = try await session.devices()
            return [
                "sessions": .list(devices.map { .map(["handle": .text($0.handle.text), "this": .bool($0.isThis)]) })
            ]
        },
        "POST /logout-others": { session, _ in
            ["ended": .int(Int64(try await session.revokeOthers()))]
        },
        "POST /logout-all": { session, _ in
            let ended = try await session.revokeAll()
            try session.logout()
            return ["ended": .int(Int64(ended))]
        },
    ]
}

extension Request {
    /// A parameter that must be there.
    func text(_ name: String) throws -> String {
        guard let value = parameters[name], !value.isEmpty else {
            throw Contract.BadParameter(message: "the parameter \(name) is missing")
        }
        return value
    }

    /// The pause asked for with ms=N.
    func pause() async throws {
        let text = parameters["ms"] ?? "0"
        guard text.allSatisfy(\.isASCII), let ms = UInt32(text), ms <= 60_000, !text.hasPrefix("+") else {
            throw Contract.BadParameter(message: "ms must be a whole number from 0 to 60000")
        }
        if ms > 0 { try await Task.sleep(for: .milliseconds(ms)) }
    }
}
