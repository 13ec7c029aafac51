// NOT BUILT HERE. A source file to copy into an application on Hummingbird 2: its package is on GitHub alone, so that
// nothing in this repository compiles or tests it. The example service beside it does the same on Foundation, and is
// tested.

import Coatroom
import Hummingbird

/// A request context that carries the session.
protocol CoatroomContext: RequestContext {
    /// Set by ``CoatroomMiddleware``, for the length of the handler.
    var session: Session? { get set }
}

/// One exchange for each request; the handler finds its session in the context.
struct CoatroomMiddleware<Context: CoatroomContext>: RouterMiddleware {
    let sessions: Sessions

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let cookies = request.headers[values: .cookie].joined(separator: "; ")
        do {
            let exchanged = try await sessions.exchange(cookies: cookies, method: request.method.rawValue) { session in
                var context = context
                context.session = session
                let response = try await next(request, context)
                // An answer that says that something went wrong acknowledges nothing.
                if response.status.code >= 500 { try session.discard() }
                return response
            }
            var response = exchanged.value
            for line in exchanged.setCookies { response.headers.append(.init(name: .setCookie, value: line)) }
            if let vary = exchanged.vary { response.headers[values: .vary].append(vary) }
            if let cache = exchanged.cacheControl { response.headers[.cacheControl] = cache }
            return response
        } catch let error as SessionError {
            throw HTTPError(.init(code: error.status), message: error.message)
        }
    }
}
