// NOT BUILT HERE. A source file to copy into an application on Vapor 4: its package is on GitHub alone, so that
// nothing in this repository compiles or tests it. The example service beside it does the same on Foundation, and is
// tested.

import Coatroom
import Vapor

/// One exchange for each request; the handler finds its session in `request.session`.
///
/// ```swift
/// app.middleware.use(CoatroomMiddleware(sessions))
/// app.post("login") { request in
///     try request.coatroom.login(try request.content.get(at: "user"))
///     return HTTPStatus.noContent
/// }
/// ```
struct CoatroomMiddleware: AsyncMiddleware {
    let sessions: Sessions

    init(_ sessions: Sessions) {
        self.sessions = sessions
    }

    func respond(to request: Request, chainingTo next: any AsyncResponder) async throws -> Response {
        let cookies = request.headers[.cookie].joined(separator: "; ")
        do {
            let exchanged = try await sessions.exchange(cookies: cookies, method: request.method.rawValue) { session in
                request.storage[SessionKey.self] = session
                let response = try await next.respond(to: request)
                // An answer that says that something went wrong acknowledges nothing.
                if response.status.code >= 500 { try session.discard() }
                return response
            }
            for (name, value) in exchanged.headers where name == "Set-Cookie" {
                exchanged.value.headers.add(name: name, value: value)
            }
            if let vary = exchanged.vary { exchanged.value.headers.add(name: .vary, value: vary) }
            if let cache = exchanged.cacheControl {
                exchanged.value.headers.replaceOrAdd(name: .cacheControl, value: cache)
            }
            return exchanged.value
        } catch let error as SessionError {
            throw Abort(HTTPResponseStatus(statusCode: error.status), reason: error.message)
        }
    }
}

private struct SessionKey: StorageKey {
    typealias Value = Coatroom.Session
}

extension Request {
    /// The session of this request. Use it inside the handler.
    var coatroom: Coatroom.Session {
        get throws {
            guard let session = storage[SessionKey.self] else {
                throw Abort(.internalServerError, reason: "this route is not behind CoatroomMiddleware")
            }
            return session
        }
    }
}
