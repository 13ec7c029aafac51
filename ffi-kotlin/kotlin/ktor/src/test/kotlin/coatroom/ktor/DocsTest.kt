package coatroom.ktor

import coatroom.Coatroom
import coatroom.Issuer
import coatroom.Keys
import coatroom.Policy
import coatroom.Remember
import coatroom.Request
import coatroom.Revocations
import coatroom.Verifier
import coatroom.VerifierKeys
import io.ktor.server.application.Application
import io.ktor.server.application.install
import io.ktor.server.response.respondText
import io.ktor.server.routing.get
import io.ktor.server.routing.route
import io.ktor.server.routing.routing
import kotlinx.serialization.Serializable
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds

/** The examples of the pages compile: what stands there stands here too, between names that it takes for granted. */
internal class DocsTest {
    @Test
    fun `every example of the pages is compiled here or is the guest book`() {
        val tree = generateSequence(File("").absoluteFile, File::getParentFile).first { File(it, "docs/kotlin.md").exists() }
        val kotlin = File(tree, "ffi-kotlin/kotlin")
        val here = File(kotlin, "ktor/src/test/kotlin/coatroom/ktor/DocsTest.kt")
        val guestBook = File(kotlin, "spring/src/test/kotlin/example/GuestBook.kt")
        val sources = listOf(here, guestBook).map { lines(it.readText()) }
        for (page in listOf("README.md", "docs/kotlin.md")) {
            val examples = Regex("```kotlin\n(.*?)```", RegexOption.DOT_MATCHES_ALL).findAll(File(tree, page).readText()).toList()
            assertTrue(examples.isNotEmpty(), page)
            for ((text) in examples.map { it.destructured }) assertTrue(sources.any { lines(text) in it }, "$page:\n$text")
        }
    }

    /** However they are indented, and whoever may see them. */
    private fun lines(text: String) = text.lines().joinToString("\n") { it.trim().removePrefix("internal ") }.trim()
}

@Serializable
private class Cart(@Suppress("unused") val items: List<String>)

private class User(val roles: List<String>)

private class Response(val addHeader: (String, String) -> Unit)

@Suppress("unused")
private suspend fun first(cookieHeader: String, response: Response) {
    val coatroom = Coatroom("sqlite:sessions.db", Keys.fromEnvironment())

    val reply = coatroom.exchange(Request(cookieHeader, "POST")) { session ->
        session.set("cart", listOf("scarf"))            // any @Serializable; a Python app beside it reads the same cart
        session.add("visits", 1)
    }
    reply.head.setCookies.forEach { response.addHeader("Set-Cookie", it) }
}

@Suppress("unused")
private suspend fun exchange(cookieHeader: String, response: Response) {
    val coatroom = Coatroom("sqlite:sessions.db", Keys.fromEnvironment(), Policy(idle = 20.minutes))

    val reply = coatroom.exchange(Request(cookieHeader, "POST")) { session ->
        session.login("ada", roles = listOf("buyer"))
        session.set("cart", Cart(items = listOf("scarf")))    // any class with @Serializable
        session.add("visits", 1)                              // counted once each, whatever runs beside it
    }
    reply.head.setCookies.forEach { response.addHeader("Set-Cookie", it) }
}

@Suppress("unused")
private suspend fun remembered(keys: Keys, users: Map<String, User>, request: Request) {
    val coatroom = Coatroom("sqlite:sessions.db", keys, remember = Remember { name -> users[name]?.roles })

    coatroom.exchange(request) { session ->
        session.login("ada", roles = listOf("buyer"))
        session.remember()                                    // if the user asks for it
    }
}

@Suppress("unused", "UNUSED_VARIABLE")
private fun Application.accessTokens(keys: Keys, jwks: String) {
    // has the sessions, and issues tokens
    val coatroom = Coatroom("redis://localhost", keys, announce = true)
    val issuer = Issuer("https://shop.example", "orders", System.getenv("TOKEN_KEYS"))     // Issuer.newKey("2026-11") makes an entry
    routing { tokens(issuer) }                       // Ktor: POST /token, GET /.well-known/jwks.json

    // has none, and verifies
    val revocations = Revocations("redis://localhost", every = 2.seconds)
    val judge = Verifier("https://shop.example", "orders", VerifierKeys.public(jwks), revocations = revocations, within = 10.seconds)
    routing {
        route("/orders") {
            install(AccessTokens) { verifier = judge; role = "customer" }
            get { call.respondText("orders of ${call.claims.principal}") }
        }
    }
}
