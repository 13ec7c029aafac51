package coatroom.ktor

import coatroom.Coatroom
import coatroom.Keys
import coatroom.Policy
import coatroom.Request
import io.ktor.client.request.header
import io.ktor.client.request.post
import io.ktor.client.statement.HttpResponse
import io.ktor.client.statement.bodyAsText
import io.ktor.http.HttpHeaders
import io.ktor.http.HttpStatusCode
import io.ktor.server.application.install
import io.ktor.server.response.header
import io.ktor.server.response.respond
import io.ktor.server.response.respondText
import io.ktor.server.routing.post
import io.ktor.server.routing.routing
import io.ktor.server.testing.ApplicationTestBuilder
import io.ktor.server.testing.testApplication
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Test
import kotlin.time.Duration.Companion.milliseconds

private val KEYS = Keys("1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE")

internal class PluginTest {
    private fun serving(
        coatroom: Coatroom = Coatroom("memory", KEYS),
        claim: suspend ApplicationTestBuilder.() -> Unit,
    ) = testApplication {
        coatroom.use {
            install(Sessions) { this.coatroom = coatroom }
            routing {
                post("/login") { call.session.login("alice").also { call.respondText("ok") } }
                post("/who") { call.respondText("${call.session.principal?.name}") }
                post("/add") {
                    call.response.header(HttpHeaders.Vary, "Accept")
                    call.respondText("${call.session.add("n", 1)}")
                }
                post("/fails") {
                    call.session.add("n", 1)
                    call.respond(HttpStatusCode.InternalServerError)
                }
                post("/throws") {
                    call.session.add("n", 1)
                    error("of the handler")
                }
                post("/silent") { call.session.add("n", 1) }
                post("/admin") { call.session.requireRole("admin").also { call.respondText("ok") } }
                post("/late") {
                    call.respondText("ok")
                    call.session.set("a", 1)
                }
                post("/not addable") {
                    call.session.set("n", "text")
                    call.respondText("${call.session.add("n", 1)}")
                }
            }
            startApplication()
            claim()
        }
    }

    private suspend fun ApplicationTestBuilder.post(path: String, cookies: String? = null): HttpResponse =
        client.post(path) { cookies?.let { header(HttpHeaders.Cookie, it) } }

    private fun HttpResponse.cookies() = headers.getAll(HttpHeaders.SetCookie).orEmpty().map { it.substringBefore(';') }

    @Test
    fun `a login sets its cookie before the body and the next request is known`() = serving {
        val login = post("/login")
        assertEquals(HttpStatusCode.OK, login.status)
        assertEquals("no-store", login.headers[HttpHeaders.CacheControl])
        assertEquals("alice", post("/who", login.cookies().single()).bodyAsText())
        assertEquals("null", post("/who").bodyAsText())
    }

    @Test
    fun `what the response varies by already stays`() = serving {
        val added = post("/add")
        assertEquals("1", added.bodyAsText())
        val varies = added.headers.getAll(HttpHeaders.Vary).orEmpty().flatMap { it.split(", ") }
        assertEquals(setOf("Accept", "Cookie"), varies.toSet())
    }

    @Test
    fun `a response of status 500 acknowledges nothing, whoever gave it`() = serving {
        val first = post("/add").cookies().single()
        for (path in listOf("/fails", "/throws")) {
            val failed = post(path, first)
            assertEquals(HttpStatusCode.InternalServerError, failed.status)
            assertNull(failed.headers[HttpHeaders.SetCookie])
        }
        assertEquals("2", post("/add", first).bodyAsText())
    }

    // spec: WRITE-19 dc98
    @Test
    fun `a handler that throws spares no session that is over`() {
        val coatroom = Coatroom("memory", KEYS, Policy(idle = 1.milliseconds))
        serving(coatroom) {
            val cookie = post("/login").cookies().single()
            assertEquals(HttpStatusCode.InternalServerError, post("/throws", cookie).status)
            assertEquals(emptyList<String>(), coatroom.exchange(Request(cookie)) { }.head.trace.written)
        }
    }

    @Test
    fun `a call that nobody answers is a 404 and commits`() = serving {
        val silent = post("/silent")
        assertEquals(HttpStatusCode.NotFound, silent.status)
        assertEquals("2", post("/add", silent.cookies().single()).bodyAsText())
    }

    @Test
    fun `a refusal becomes the status it names`() = serving {
        assertEquals(HttpStatusCode.Unauthorized, post("/admin").status)
        val alice = post("/login").cookies().single()
        assertEquals(HttpStatusCode.Forbidden, post("/admin", alice).status)
        assertEquals(HttpStatusCode.Conflict, post("/not%20addable", alice).status)
    }

    // spec: HTTP-3 779a
    @Test
    fun `a store that cannot answer is 503 to be tried again and kept by nobody`() {
        val elsewhere = Coatroom("memory", KEYS)
        val cookie = elsewhere.use { runBlocking { it.exchange(Request(null)) { session -> session.set("n", 1) } } }.head.setCookies.single()
        serving(Coatroom("redis://127.0.0.1:1?time_limit=0.2", KEYS)) {
            val refused = post("/add", cookie.substringBefore(';'))
            assertEquals(HttpStatusCode.ServiceUnavailable, refused.status)
            assertEquals("no-store", refused.headers[HttpHeaders.CacheControl])
            assertEquals("1", refused.headers[HttpHeaders.RetryAfter])
            assertEquals(emptyList<String>(), refused.cookies())
        }
    }

    @Test
    fun `a change after the head is gone is refused and not lost in silence`() = serving {
        val outcome = runCatching { post("/late") }
        assertEquals(true, outcome.isFailure || outcome.getOrThrow().status == HttpStatusCode.OK)
        assertEquals(emptyList<String>(), outcome.getOrNull()?.cookies().orEmpty())
    }
}
