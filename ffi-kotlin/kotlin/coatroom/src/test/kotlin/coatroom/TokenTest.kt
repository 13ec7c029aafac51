package coatroom

import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.add
import kotlinx.serialization.json.buildJsonArray
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.put
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTimeoutPreemptively
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.CsvSource
import org.junit.jupiter.params.provider.ValueSource
import java.nio.file.Files
import java.nio.file.Path
import java.time.Duration
import java.time.Instant
import java.util.HexFormat
import kotlin.io.path.listDirectoryEntries
import kotlin.io.path.readText
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds

private const val SHOP = "https://shop.example"
private const val ED = "ed-1:EdDSA:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3I"
private const val HS = "hs-1:HS256:YW5vdGhlciB0ZXN0IGtleSwgYW5kIG5vIHNlY3JldCEh"

/** Access tokens: the vectors that every language plays, and the way from a login to a verifier and back from a logout. */
internal class TokenTest {
    @TempDir
    lateinit var folder: Path
    private val vectors = Path.of("../../../spec/vectors/tokens")
    private val start = Instant.parse("2026-11-21T12:00:00Z")

    private fun read(name: String) = Files.readString(vectors.resolve(name))

    // spec: TOKEN-4 0830, TOKEN-5 0209, TOKEN-6 8261, TOKEN-7 8b63, TOKEN-10 2a12, TOKEN-11 f067
    @Test
    fun `every token is judged as it is written, and the index counts every file`() {
        val index = Taken(Json.parseToJsonElement(read("index.json")))
        val (all, files, given) = Triple(index["cases"].jsonPrimitive.int, index["files"].jsonObject, index["given"].jsonObject)
        index.end()
        val present = Files.list(vectors).use { found -> found.map { "${it.fileName}" }.filter { it.endsWith(".json") }.toList() }
        assertEquals(files.keys + "index.json", present.toSet())
        files.forEach { (name, count) -> assertEquals(count.jsonPrimitive.int, playTokens(given, read(name)), name) }
        assertEquals(all, files.values.sumOf { it.jsonPrimitive.int })
        println("tokens: $all cases")
    }

    @ParameterizedTest
    @CsvSource(
        quoteCharacter = '\'',
        value = [
            "accepted.json, '\"level\":1', '\"level\":2'", "texts.json, '\"now\":', '\"extra\": 1, \"now\":'",
            "algorithms.json, '{\"refused\":\"algorithm\"}', '{\"refused\":\"signature\"}'",
        ],
    )
    fun `a difference is noticed`(file: String, old: String, new: String) {
        val given = Json.parseToJsonElement(read("index.json")).jsonObject.getValue("given").jsonObject
        val text = read(file)
        assertThrows(AssertionError::class.java) { playTokens(given, text.replaceFirst(old, new).also { check(it != text) }) }
    }

    /** An application that issues tokens and a service that verifies them, which share a store and nothing else. */
    private inner class Site(store: String, keys: String = ED) : AutoCloseable {
        val clock = TestClock(start)
        val coatroom = Coatroom(store, KEYS, Policy(), clock, announce = true)
        val issuer = Issuer(SHOP, "orders", keys)
        val revocations = if (store == "memory") Revocations(coatroom, clock) else Revocations(store, clock)
        val verifier = verifier(if (keys == ED) VerifierKeys.public(issuer.jwks) else VerifierKeys.shared(keys))
        val browser = Browser(coatroom)

        fun verifier(keys: VerifierKeys, late: Late = Late.REFUSE) = Verifier(
            SHOP, "orders", keys, 5.minutes, 5.seconds, revocations, 10.seconds, late, clock.native,
        )

        suspend fun login() = browser.send { it.login("ada", listOf("admin"), level = 2) }

        suspend fun token() = browser.send { issuer.issue(it) }

        override fun close() {
            revocations.close()
            coatroom.close()
        }
    }

    private fun on(store: String, keys: String = ED, claim: suspend Site.() -> Unit) = runBlocking {
        val place = if (store == "memory") store else "$store:$folder/$store"
        Site(place, keys).use { it.claim() }
    }

    // spec: TOKEN-1 6e31, TOKEN-2 9702
    @ParameterizedTest
    @ValueSource(strings = [ED, HS])
    fun `a token says who is logged in and is verified elsewhere`(keys: String) = on("memory", keys) {
        revocations.pull()
        login()
        val token = token()
        val claims = verifier.bearer("bearer ${token.text}")
        assertEquals("ada", claims.principal)
        assertEquals(setOf("admin"), claims.roles)
        assertEquals(2, claims.level)
        assertEquals(browser.send { it.trace().handle }, claims.handle)
        assertEquals(start, claims.issuedAt)
        assertEquals(token.expiresAt, claims.expiresAt)
        assertEquals(start.plusSeconds(300), token.expiresAt)
        assertEquals(5.minutes, token.lifetime)
        assertEquals(Heard.IN_TIME, claims.heard)
        claims.requireRole("admin")
        assertThrows<ForbiddenException> { claims.requireRole("root") }
        assertFalse(token.text in "$token $claims $issuer $verifier $revocations")
        clock.set(start.plusSeconds(310))
        assertThrows<TokenExpiredException> { verifier.verify(token.text) }
    }

    // spec: TOKEN-3 c1a8
    @Test
    fun `nobody gets no token, and a login that is not stored none yet`() = on("memory") {
        assertThrows<UnauthenticatedException> { token() }
        assertThrows<NotIssuedException> { browser.send { it.login("ada").also { _ -> issuer.issue(it) } } }
        login()
        assertThrows<UnauthenticatedException> { browser.send { it.logout().also { _ -> issuer.issue(it) } } }
    }

    // spec: TOKEN-12 c154, TOKEN-13 0b79, FEED-5 77d0
    @ParameterizedTest
    @ValueSource(strings = ["memory", "sqlite", "file"])
    fun `a logout reaches a verifier with the next pull`(store: String) = on(store) {
        login()
        val token = token()
        assertThrows<EndingsUnknownException> { verifier.verify(token.text) }
        assertEquals(0L, revocations.pull())
        verifier.verify(token.text)
        browser.send { it.logout() }
        verifier.verify(token.text)
        assertEquals(1L, revocations.pull())
        assertThrows<TokenRevokedException> { verifier.verify(token.text) }
        assertEquals(1L, revocations.size)
        assertEquals(start, revocations.upToDate)
    }

    // spec: TOKEN-13 0b79
    @Test
    fun `who has not heard for longer than the bound says so, or was told to accept it`() = on("memory") {
        revocations.pull()
        login()
        val token = token()
        clock.set(start.plusSeconds(10))
        verifier.verify(token.text)
        clock.set(start.plusSeconds(11))
        val refused = assertThrows<EndingsUnknownException> { verifier.verify(token.text) }
        assertEquals(503, refused.status)
        val lenient = verifier(VerifierKeys.public(issuer.jwks), Late.ACCEPT)
        assertEquals(Heard.TOO_LONG_AGO, lenient.verify(token.text).heard)
    }

    // spec: TOKEN-13 0b79
    @Test
    fun `a thread pulls by itself, until it is closed`() = runBlocking {
        Coatroom("memory", KEYS, announce = true).use { coatroom ->
            val revocations = Revocations(coatroom, every = 5.milliseconds)
            val browser = Browser(coatroom)
            browser.send { it.login("ada") }
            browser.send { it.logout() }
            while (revocations.size == 0L) Thread.onSpinWait()
            revocations.close()
            assertThrows<IllegalStateException> { revocations.size }
            Unit
        }
    }

    @Test
    fun `closed revocations leave no thread, however many are closed at once`() {
        val before = pulling()
        // One that looks just before it is told to end would wait for its next pull; of so many, some do.
        val many = List(200) { Revocations("sqlite:${folder.resolve("sessions.db")}", every = 1.hours) }
        assertTimeoutPreemptively(Duration.ofSeconds(30)) { while (pulling() < many.size) Thread.onSpinWait() }
        many.forEach { it.close() }
        assertTimeoutPreemptively(Duration.ofSeconds(30)) { while (pulling() > before) Thread.onSpinWait() }
    }

    /** Threads of this process that pull. One that ends meanwhile is none. */
    private fun pulling() = Path.of("/proc/self/task").listDirectoryEntries().count {
        runCatching { it.resolve("comm").readText().trim() }.getOrNull() == "coatroom-feed"
    }

    // spec: TOKEN-8 d2bf, TOKEN-9 8191
    @Test
    fun `keys are changed without refusing a live token`() = on("memory") {
        revocations.pull()
        login()
        val old = token()
        val next = Issuer.newKey("2027-01")
        val both = Issuer(SHOP, "orders", "$next,$ED")
        val new = browser.send { both.issue(it) }
        assertThrows<UnknownTokenKeyException> { verifier.verify(new.text) }
        verifier.setKeys(VerifierKeys.public(both.jwks))
        assertEquals(listOf("ada", "ada"), listOf(old, new).map { verifier.verify(it.text).principal })
        assertThrows<ConfigException> { verifier.setKeys(VerifierKeys.public("{}")) }
        assertEquals("ada", verifier.verify(new.text).principal)
    }

    @Test
    fun `mistakes are refused by name, at start`() {
        val mistakes = listOf(
            { Issuer("", "orders", ED) },
            { Issuer(SHOP, "orders", "ed-1:EdDSA:c2hvcnQ") },
            { Issuer(SHOP, "orders", ED, lifetime = 61.minutes) },
            { Verifier(SHOP, "orders", VerifierKeys.shared(ED)) },
            { Verifier(SHOP, "orders", VerifierKeys.shared(HS), leeway = 61.seconds) },
            { Revocations("cookie") },
            { Coatroom("cookie", KEYS, announce = true) },
            { Coatroom(MapStore(), KEYS).use { Revocations(it) } },
            {
                val revocations = Revocations("memory", every = 10.seconds)
                Verifier(SHOP, "orders", VerifierKeys.shared(HS), revocations = revocations)
            },
        )
        for (mistake in mistakes) assertTrue(assertThrows<ConfigException> { mistake() }.message.orEmpty().length > 20)
        assertThrows<TokenMissingException> { Verifier(SHOP, "orders", VerifierKeys.shared(HS)).bearer("Basic abc") }
    }
}

/** Plays the text of a file; how many cases it has. */
private fun playTokens(given: JsonObject, text: String): Int {
    val clock = TestClock(Instant.EPOCH)
    fun verifier(keys: VerifierKeys) = Verifier(
        given.getValue("issuer").jsonPrimitive.content, given.getValue("audience").jsonPrimitive.content, keys,
        5.minutes, 5.seconds, null, 10.seconds, Late.REFUSE, clock.native,
    )
    val verifiers = mapOf(
        "eddsa" to verifier(VerifierKeys.public(given.getValue("jwks").jsonPrimitive.content)),
        "hs256" to verifier(VerifierKeys.shared(given.getValue("hs256").jsonPrimitive.content)),
    )
    val file = Taken(Json.parseToJsonElement(text))
    val cases = file["cases"].jsonArray
    file.end()
    for (case in cases.map(::Taken)) {
        val (name, keys) = case.text("name") to case.text("keys")
        clock.set(Instant.ofEpochSecond(case.long("now")))
        val token = case.maybe("token")?.jsonPrimitive?.content?.toByteArray() ?: HexFormat.of().parseHex(case.text("bytes"))
        assertEquals(sorted(case["expect"]), judged(verifiers.getValue(keys), token), name)
        case.end()
    }
    return cases.size
}

/** What a verifier says, as the vectors write it. */
private fun judged(verifier: Verifier, token: ByteArray): JsonElement = try {
    val claims = verifier.verify(token)
    buildJsonObject {
        put(
            "claims",
            buildJsonObject {
                put("sub", claims.principal)
                put("sid", claims.handle)
                put("jti", claims.tokenId)
                put("level", claims.level)
                put("roles", buildJsonArray { claims.roles.sorted().forEach { add(it) } })
                put("iat_ms", claims.issuedAt.toEpochMilli())
                put("exp_ms", claims.expiresAt.toEpochMilli())
            },
        )
    }
} catch (refused: TokenRefusedException) {
    val parts = String(token, Charsets.ISO_8859_1).split('.').filter { it.length > 8 }
    assertFalse(parts.any { it in refused.message.orEmpty() }, "the message tells of the token")
    buildJsonObject { put("refused", refused.reason) }
}

/** Roles in an order: a set has none. */
private fun sorted(expect: JsonElement): JsonElement {
    val claims = expect.jsonObject["claims"]?.jsonObject ?: return expect
    val roles = claims.getValue("roles").jsonArray.map { it.jsonPrimitive.content }.sorted()
    val inOrder = buildJsonArray { roles.forEach { add(JsonPrimitive(it)) } }
    return JsonObject(mapOf("claims" to JsonObject(claims + ("roles" to inOrder))))
}
