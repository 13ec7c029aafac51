package coatroom

import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.ValueSource
import java.time.Duration
import java.time.Instant
import kotlin.time.Duration.Companion.days

private const val COOKIE = "__Host-remember"

/** What outlives a session, what it may do, and how a copy of it is noticed. */
internal class RememberTest {
    private var now = Instant.parse("2026-01-02T03:04:05Z")
    private val clock = TestClock(now)
    private val roles = mutableMapOf<String, List<String>?>("ada" to listOf("reader"), "bob" to emptyList())

    private fun over(store: String, claim: suspend (Coatroom) -> Unit) {
        val remember = Remember(30.days) { roles[it] }
        val coatroom = when (store) {
            "own" -> Coatroom(MapStore(), KEYS, Policy(), clock, remember)
            else -> Coatroom(store, KEYS, Policy(), clock, remember)
        }
        coatroom.use { runBlocking { claim(it) } }
    }

    private fun pass(span: Duration) {
        now += span
        clock.set(now)
    }

    private fun nextDay() = pass(Duration.ofDays(1))

    private suspend fun Browser.login() = send { session ->
        session.login("ada", listOf("reader"))
        session.remember()
    }

    private suspend fun Browser.who() = send("GET") { session -> session.principal?.run { "$name $roles $level" } }

    // spec: REM-1 bbac, REM-3 3625
    @ParameterizedTest
    @ValueSource(strings = ["memory", "own"])
    fun `a remembered login is there the next day and is a weak one`(store: String) = over(store) {
        val browser = Browser(it)
        browser.login()
        assertEquals(setOf("__Host-id", COOKIE), browser.cookies.keys)
        nextDay()
        assertNull(browser.send { session -> session.principal }, "a forged request logs nobody in")
        roles["ada"] = listOf("reader", "editor")
        assertEquals("ada [editor, reader] 0", browser.who())
        assertEquals("ada [editor, reader] 0", browser.who())
        val weak = listOf<(Session) -> Unit>({ session -> session.requireFresh(1.days) }, { session -> session.remember() })
        for (asks in weak) {
            val refused = runCatching { browser.send("GET") { session -> asks(session) } }.exceptionOrNull()
            assertEquals("not-fresh", (refused as UnauthenticatedException).code)
        }
        assertEquals(1, it.devices("ada").size)
        roles["ada"] = null
        nextDay()
        assertNull(browser.who())
        assertTrue(COOKIE !in browser.cookies)
    }

    // spec: REM-2 698a
    @ParameterizedTest
    @ValueSource(strings = ["memory", "own"])
    fun `a credential is replaced when it was used and ends when its days are over`(store: String) = over(store) {
        val browser = Browser(it)
        browser.login()
        val seen = mutableSetOf(browser.cookies[COOKIE])
        repeat(29) {
            nextDay()
            assertEquals("ada [reader] 0", browser.who())
            seen += browser.cookies[COOKIE]
        }
        assertEquals(15, seen.size, "every second use: one shows the new credential, the next replaces it")
        nextDay()
        pass(Duration.ofHours(1))
        assertNull(browser.who(), "no use prolongs it")
    }

    // spec: REM-3 3625
    @ParameterizedTest
    @ValueSource(strings = ["memory", "own"])
    fun `a copy ends everything of its owner once both were used`(store: String) = over(store) {
        val (browser, thief) = Browser(it) to Browser(it)
        browser.login()
        nextDay()
        browser.who()
        thief.cookies[COOKIE] = browser.cookies.getValue(COOKIE)
        repeat(2) {
            nextDay()
            browser.who()
        }
        pass(Duration.ofSeconds(31))
        val found = it.exchange(Request(thief.header)) { session -> session.principal }
        assertNull(found.value)
        assertTrue("remembered reuse" in found.head.trace.events.map { event -> event.name })
        assertNull(browser.who(), "the session, which may be the thief's, is over too")
        nextDay()
        assertNull(browser.who())
    }

    // spec: REM-4 55b3
    @ParameterizedTest
    @ValueSource(strings = ["memory", "own"])
    fun `a logout, somebody else's login and a revocation forget`(store: String) = over(store) {
        val endings = listOf<suspend (Session) -> Unit>(
            { session -> session.logout() },
            { session -> session.login("bob") },
            { session -> session.revokeAll() },
            { _ -> it.revokeEverything() },
        )
        for (end in endings) {
            val (browser, copy) = Browser(it) to Browser(it)
            browser.login()
            copy.cookies += browser.cookies
            browser.send { session -> end(session) }
            nextDay()
            assertNull(copy.who())
        }
        val browser = Browser(it)
        browser.login()
        browser.send { session -> session.login("ada") }
        nextDay()
        assertEquals("ada [reader] 0", browser.who(), "one's own login keeps it")
    }

    // spec: REM-4 55b3
    @ParameterizedTest
    @ValueSource(strings = ["memory", "own"])
    fun `ending everything ends sessions and credentials, and counts both`(store: String) = over(store) {
        Browser(it).login()
        assertEquals(2L, it.revokeEverything())
    }

    @ParameterizedTest
    @ValueSource(strings = ["memory", "own"])
    fun `nobody is logged in where the roles cannot be told, and nothing is lost`(store: String) {
        val thrown = IllegalStateException("no route")
        var fails = true
        val remember = Remember { name -> if (fails) throw thrown else roles[name] }
        val coatroom = if (store == "own") Coatroom(MapStore(), KEYS, Policy(), clock, remember) else Coatroom(store, KEYS, Policy(), clock, remember)
        coatroom.use {
            runBlocking {
                val browser = Browser(it)
                browser.login()
                nextDay()
                val refused = runCatching { browser.who() }.exceptionOrNull()
                assertSame(thrown, (refused as StoreUnavailableException).cause)
                fails = false
                assertEquals("ada [reader] 0", browser.who())
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = ["memory", "own"])
    fun `a handler that throws logs nobody in and loses nothing`(store: String) = over(store) {
        val browser = Browser(it)
        browser.login()
        nextDay()
        assertTrue(runCatching { browser.send("GET") { error("mine") } }.isFailure)
        assertEquals(0, it.devices("ada").size)
        assertEquals("ada [reader] 0", browser.who())
    }
}
