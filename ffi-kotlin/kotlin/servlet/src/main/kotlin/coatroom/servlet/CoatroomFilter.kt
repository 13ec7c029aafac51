package coatroom.servlet

import coatroom.Coatroom
import coatroom.CoatroomException
import coatroom.Request
import coatroom.Session
import coatroom.TokenRefusedException
import coatroom.UnavailableException
import jakarta.servlet.Filter
import jakarta.servlet.FilterChain
import jakarta.servlet.ServletException
import jakarta.servlet.ServletRequest
import jakarta.servlet.ServletResponse
import jakarta.servlet.http.HttpServletRequest
import jakarta.servlet.http.HttpServletResponse
import kotlinx.coroutines.runBlocking
import java.util.Collections

private const val SESSION = "coatroom.session"
private const val RETRY_AFTER_SECONDS = 1

/** The session of this request; not to be mixed up with the container's own. */
public val HttpServletRequest.coatroom: Session
    get() = getAttribute(SESSION) as? Session ?: error("no session: the CoatroomFilter does not cover this path")

/**
 * Gives every request that it covers a session, and commits it before the head of the response goes out: the response is
 * held until then. A commit that is refused replaces it; a response of status 500 and above writes nothing.
 *
 * A request that goes on asynchronously commits when the servlet returns: what it changes later is refused.
 */
public class CoatroomFilter(private val coatroom: Coatroom) : Filter {
    override fun doFilter(request: ServletRequest, response: ServletResponse, chain: FilterChain) {
        if (request !is HttpServletRequest || response !is HttpServletResponse || request.getAttribute(SESSION) != null) {
            return chain.doFilter(request, response)
        }
        try {
            val session = runBlocking { coatroom.open(request.asRequest()) }
            try {
                request.setAttribute(SESSION, session)
                val held = HeldResponse(response) { present -> session.end(present) }
                chain.doFilter(request, held)
                held.letGo()
            } finally {
                runBlocking { session.abandon() }
            }
        } catch (refused: CoatroomException) {
            response.refuse(refused)
        } catch (wrapped: ServletException) {
            response.refuse(wrapped.rootCause as? CoatroomException ?: throw wrapped)
        } finally {
            request.removeAttribute(SESSION)
        }
    }
}

/** Commits, and sets what goes into the head. */
private fun Session.end(response: HttpServletResponse) {
    val fails = response.status >= HttpServletResponse.SC_INTERNAL_SERVER_ERROR
    if (fails) discard()
    val head = try {
        runBlocking { commit(response.joined("Vary"), response.joined("Cache-Control")) }
    } catch (refused: CoatroomException) {
        if (fails) return else throw refused
    }
    head.setCookies.forEach { response.addHeader("Set-Cookie", it) }
    head.vary?.let { response.setHeader("Vary", it) }
    head.cacheControl?.let { response.setHeader("Cache-Control", it) }
}

private fun HttpServletResponse.joined(name: String) = getHeaders(name).joinToString(", ").ifEmpty { null }

private fun HttpServletRequest.asRequest() =
    Request(Collections.list(getHeaders("Cookie")).joinToString("; ").ifEmpty { null }, method)

// spec: HTTP-3 779a
internal fun HttpServletResponse.refuse(refused: CoatroomException) {
    if (isCommitted) throw refused
    reset()
    setHeader("Cache-Control", "no-store")
    if (refused is UnavailableException) setIntHeader("Retry-After", RETRY_AFTER_SECONDS)
    if (refused is TokenRefusedException) setHeader("WWW-Authenticate", refused.challenge)
    sendError(refused.status, refused.message)
}
