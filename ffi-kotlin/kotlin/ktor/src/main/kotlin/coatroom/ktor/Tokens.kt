package coatroom.ktor

import coatroom.Claims
import coatroom.CoatroomException
import coatroom.Issuer
import coatroom.Verifier
import io.ktor.http.ContentType
import io.ktor.http.HttpHeaders
import io.ktor.http.content.OutgoingContent
import io.ktor.server.application.ApplicationCall
import io.ktor.server.application.RouteScopedPlugin
import io.ktor.server.application.call
import io.ktor.server.application.createRouteScopedPlugin
import io.ktor.server.response.header
import io.ktor.server.response.respond
import io.ktor.server.response.respondText
import io.ktor.server.routing.Route
import io.ktor.server.routing.get
import io.ktor.server.routing.post
import io.ktor.util.AttributeKey

private val CLAIMS = AttributeKey<Claims>("Coatroom claims")
private val KEY_SET = ContentType("application", "jwk-set+json")

/**
 * `POST /token`, a token for whoever is logged in, and `GET /.well-known/jwks.json`, the public keys. Below [Sessions]:
 *
 * ```
 * install(Sessions) { coatroom = ... }
 * routing { tokens(Issuer("https://shop.example", "orders", keys)) }
 * ```
 */
// spec: TOKEN-3 c1a8, TOKEN-9 8191
public fun Route.tokens(issuer: Issuer) {
    post(Issuer.TOKEN_PATH) {
        val token = issuer.issue(call.session)
        call.response.header(HttpHeaders.CacheControl, "no-store")
        call.respondText(token.toJson(), ContentType.Application.Json)
    }
    get(Issuer.KEYS_PATH) {
        call.response.header(HttpHeaders.CacheControl, "public, max-age=${Issuer.KEYS_LAST.inWholeSeconds}")
        call.respondText(issuer.jwks, KEY_SET)
    }
}

/** What [AccessTokens] needs. */
public class AccessTokensConfig {
    /** Who judges. */
    public var verifier: Verifier? = null

    /** A role that the principal must have. */
    public var role: String? = null

    /** What a call is answered with that has no token that counts. The status is [CoatroomException.status]. */
    public var refusal: (CoatroomException) -> OutgoingContent = ::inText
}

/** What the token of this call states. */
public val ApplicationCall.claims: Claims
    get() = attributes.getOrNull(CLAIMS) ?: error("no token: install(AccessTokens) { verifier = ... } around this route")

/**
 * Answers 401 unless a call carries an access token that counts, 403 unless its principal has the role, and 503 while endings
 * are unknown; then `call.claims` has what the token states. The application needs no sessions.
 *
 * ```
 * route("/orders") { install(AccessTokens) { verifier = ... }; get { call.respondText(call.claims.principal) } }
 * ```
 */
public val AccessTokens: RouteScopedPlugin<AccessTokensConfig> =
    createRouteScopedPlugin("Coatroom access tokens", ::AccessTokensConfig) {
        val verifier = requireNotNull(pluginConfig.verifier) { "set `verifier` in install(AccessTokens) { ... }" }
        val (role, refusal) = pluginConfig.role to pluginConfig.refusal
        onCall { call ->
            try {
                val claims = verifier.bearer(call.request.headers[HttpHeaders.Authorization])
                role?.let(claims::requireRole)
                call.attributes.put(CLAIMS, claims)
            } catch (refused: CoatroomException) {
                call.setHead(refused)
                call.respond(refusal(refused))
            }
        }
    }
