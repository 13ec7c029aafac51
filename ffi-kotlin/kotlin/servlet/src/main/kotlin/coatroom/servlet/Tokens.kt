package coatroom.servlet

import coatroom.Claims
import coatroom.CoatroomException
import coatroom.Issuer
import coatroom.Verifier
import jakarta.servlet.Filter
import jakarta.servlet.FilterChain
import jakarta.servlet.ServletRequest
import jakarta.servlet.ServletResponse
import jakarta.servlet.http.HttpServlet
import jakarta.servlet.http.HttpServletRequest
import jakarta.servlet.http.HttpServletResponse

private const val CLAIMS = "coatroom.claims"

/** `POST`: a token for whoever is logged in. Mapped to [Issuer.TOKEN_PATH], below a [CoatroomFilter]. */
public class TokenServlet(private val issuer: Issuer) : HttpServlet() {
    // spec: TOKEN-3 c1a8
    override fun doPost(request: HttpServletRequest, response: HttpServletResponse) {
        response.answer(issuer.issue(request.coatroom).toJson(), "application/json", "no-store")
    }
}

/** `GET`: the public keys, for anybody. Mapped to [Issuer.KEYS_PATH]. */
public class KeysServlet(private val issuer: Issuer) : HttpServlet() {
    // spec: TOKEN-9 8191
    override fun doGet(request: HttpServletRequest, response: HttpServletResponse) {
        val kept = "public, max-age=${Issuer.KEYS_LAST.inWholeSeconds}"
        response.answer(issuer.jwks, "application/jwk-set+json", kept)
    }
}

private fun HttpServletResponse.answer(text: String, type: String, cacheControl: String) {
    contentType = type
    setHeader("Cache-Control", cacheControl)
    outputStream.write(text.toByteArray())
}

/** What the token of this request states. */
public val HttpServletRequest.claims: Claims
    get() = getAttribute(CLAIMS) as? Claims ?: error("no token: the TokenFilter does not cover this path")

/**
 * Answers 401 unless a request that it covers carries an access token that counts, 403 unless its principal has the role, and
 * 503 while endings are unknown; then `request.claims` has what the token states. The application needs no sessions.
 */
public class TokenFilter(private val verifier: Verifier, private val role: String? = null) : Filter {
    override fun doFilter(request: ServletRequest, response: ServletResponse, chain: FilterChain) {
        if (request !is HttpServletRequest || response !is HttpServletResponse) return chain.doFilter(request, response)
        try {
            val claims = verifier.bearer(request.getHeader("Authorization"))
            role?.let(claims::requireRole)
            request.setAttribute(CLAIMS, claims)
        } catch (refused: CoatroomException) {
            return response.refuse(refused)
        }
        chain.doFilter(request, response)
    }
}
