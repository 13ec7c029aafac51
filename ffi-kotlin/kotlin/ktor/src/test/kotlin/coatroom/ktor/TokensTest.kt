package coatroom.ktor

import coatroom.Coatroom
import coatroom.Issuer
import coatroom.Keys
import coatroom.Revocations
import coatroom.Verifier
import coatroom.VerifierKeys
import io.ktor.client.request.get
import io.ktor.client.request.header
import io.ktor.client.request.post
import io.ktor.client.statement.HttpResponse
import io.ktor.client.statement.bodyAsText
import io.ktor.http.HttpHeaders
import io.ktor.http.HttpStatusCode
import io.ktor.server.application.install
import io.ktor.server.response.respondText
import io.ktor.server.routing.get
import io.ktor.server.routing.post
import io.ktor.server.routing.route
import io.ktor.server.routing.routing
import io.ktor.server.testing.ApplicationTestBuilder
import io.ktor.server.testing.testApplication
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

private const val SHOP = "https://shop.example"

/** Tokens from the application that has the sessions, to one that has none. */
internal class TokensTest {
    private val keys = Keys("1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE")
    private val issuer = Issuer(SHOP, "orders", "ed-1:EdDSA:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3I")

    private var reached = false

    private fun serving(claim: suspend ApplicationTestBuilder.(Revocations) -> Unit) = testApplication {
        Coatroom("memory", keys, announce = true).use { coatroom ->
            Revocations(coatroom, every = null).use { revocations ->
                install(Sessions) { this.coatroom = coatroom }
                routing {
                    tokens(issuer)
                    post("/login") { call.session.login("ada", listOf("buyer")).also { call.respondText("ok") } }
                    post("/logout") { call.session.logout().also { call.respondText("ok") } }
                    val judge = Verifier(SHOP, "orders", VerifierKeys.public(issuer.jwks), revocations = revocations)
                    route("/orders") {
                        install(AccessTokens) { verifier = judge }
                        get { call.respondText("${call.claims.principal} ${call.claims.roles}") }
                    }
                    route("/admin") {
                        install(AccessTokens) {
                            verifier = judge
                            role = "admin"
                        }
                        get { call.respondText("admin").also { reached = true } }
                        post { reached = true }
                    }
                }
                startApplication()
                claim(revocations)
            }
        }
    }

    private suspend fun ApplicationTestBuilder.post(path: String, cookies: String? = null): HttpResponse =
        client.post(path) { cookies?.let { header(HttpHeaders.Cookie, it) } }

    private suspend fun ApplicationTestBuilder.get(path: String, token: String? = null): HttpResponse =
        client.get(path) { token?.let { header(HttpHeaders.Authorization, "Bearer $it") } }

    // spec: TOKEN-3 c1a8, TOKEN-9 8191, TOKEN-12 c154
    @Test
    fun `a token is had for the session, used without it, and dead after the logout`() = serving { revocations ->
        revocations.pull()
        assertEquals(HttpStatusCode.Unauthorized, post("/token").status)
        val cookie = post("/login").headers.getAll(HttpHeaders.SetCookie).orEmpty().single().substringBefore(';')
        val made = post("/token", cookie)
        assertEquals("no-store", made.headers[HttpHeaders.CacheControl])
        val body = made.bodyAsText()
        assertTrue(body.endsWith("\"token_type\": \"Bearer\", \"expires_in\": 300}"), body)
        val token = body.substringAfter("\"access_token\": \"").substringBefore('"')
        assertEquals("ada [buyer]", get("/orders", token).bodyAsText())
        assertEquals(HttpStatusCode.Forbidden, get("/admin", token).status)
        assertEquals(HttpStatusCode.Unauthorized, post("/admin").status)
        assertFalse(reached, "no handler runs for a call that was refused")
        post("/logout", cookie)
        revocations.pull()
        val refused = get("/orders", token)
        assertEquals(HttpStatusCode.Unauthorized, refused.status)
        assertEquals("Bearer error=\"invalid_token\"", refused.headers[HttpHeaders.WWWAuthenticate])
        assertEquals("no-store", refused.headers[HttpHeaders.CacheControl])
        assertEquals("Bearer", get("/orders").headers[HttpHeaders.WWWAuthenticate])
    }

    @Test
    fun `whoever cannot know what has ended says so`() = serving {
        val cookie = post("/login").headers.getAll(HttpHeaders.SetCookie).orEmpty().single().substringBefore(';')
        val token = post("/token", cookie).bodyAsText().substringAfter("\"access_token\": \"").substringBefore('"')
        val refused = get("/orders", token)
        assertEquals(HttpStatusCode.ServiceUnavailable, refused.status)
        assertEquals("1", refused.headers[HttpHeaders.RetryAfter])
    }

    @Test
    fun `the public keys are for anybody`() = serving {
        val keys = get("/.well-known/jwks.json")
        assertEquals("application/jwk-set+json", keys.headers[HttpHeaders.ContentType])
        assertEquals("public, max-age=300", keys.headers[HttpHeaders.CacheControl])
        assertEquals(issuer.jwks, keys.bodyAsText())
    }
}
