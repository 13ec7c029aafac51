package coatroom

import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.ValueSource
import java.nio.file.Path
import java.time.Instant
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.minutes

/** The same claims over a store of the library and over stores of the application. */
internal class SessionTest {
    @TempDir
    lateinit var folder: Path

    private val start = Instant.parse("2026-01-02T03:04:05Z")
    private val clock = TestClock(start)

    private fun coatroom(store: String, policy: Policy = Policy()): Coatroom = when (store) {
        "own" -> Coatroom(MapStore(), KEYS, policy, clock)
        "own, index apart" -> Coatroom(MapStore(entersWithSwap = false), KEYS, policy, clock)
        "sqlite" -> Coatroom("sqlite:${folder.resolve("sessions.db")}", KEYS, policy, clock)
        else -> Coatroom(store, KEYS, policy, clock)
    }

    private fun over(store: String, policy: Policy = Policy(), claim: suspend (Coatroom) -> Unit) =
        coatroom(store, policy).use { runBlocking { claim(it) } }

    @ParameterizedTest
    @ValueSource(strings = ["memory", "sqlite", "own", "own, index apart"])
    fun `a session that was only read gives no cookie, and one that was written does`(store: String) = over(store) {
        val read = it.exchange(Request(null)) { session -> session.get<String>("a") }
        assertEquals(emptyList<String>(), read.head.setCookies)
        assertEquals("Cookie" to "no-store", read.head.vary to read.head.cacheControl)
        val untouched = it.exchange(Request(null)) { }
        assertNull(untouched.head.vary)
        val browser = Browser(it)
        browser.send { session -> session.set("a", "b") }
        assertEquals(setOf("__Host-visitor"), browser.cookies.keys)
        assertEquals("b", browser.send { session -> session.get<String>("a") })
    }

    @ParameterizedTest
    @ValueSource(strings = ["memory", "sqlite", "own", "own, index apart"])
    fun `a handler sees at once what it did`(store: String) = over(store, Policy(carry = Carry.Keys(listOf("cart")))) {
        Browser(it).send { session ->
            session.set("cart", listOf("hat"))
            session.set("state", "secret")
            assertEquals(listOf("cart", "state"), session.keys)
            session.login("alice", listOf("admin", "a"), 2)
            assertEquals(listOf("cart"), session.keys)
            val alice = checkNotNull(session.principal)
            assertEquals(listOf("alice", listOf("a", "admin"), 2, start), listOf(alice.name, alice.roles, alice.level, alice.authenticatedAt))
            assertEquals(listOf(5L, 3L), listOf(session.add("n", 5), session.add("n", -2)))
            session.update<Long>("n") { n -> n!! * 2 }
            assertEquals(6L, session.get<Long>("n"))
            session.remove("cart")
            assertFalse("cart" in session)
            session.clear()
            assertEquals(emptyList<String>(), session.keys)
            session.logout()
            assertNull(session.principal)
        }
    }

    @ParameterizedTest
    @ValueSource(strings = ["memory", "sqlite", "own", "own, index apart"])
    fun `login, devices and revocation reach every session of a principal`(store: String) = over(store) {
        val (phone, desk) = Browser(it) to Browser(it)
        phone.send { session ->
            session.login("alice")
            session.describeClient("phone", "192.0.2.1")
        }
        desk.send { session -> session.login("alice", level = 3) }
        val devices = desk.send { session -> session.devices() }
        assertEquals(setOf("phone" to false, "" to true), devices.map { device -> device.label to device.isThis }.toSet())
        assertEquals(1L, desk.send { session -> session.revokeOthers() })
        assertNull(phone.send { session -> session.principal })
        assertEquals("alice", desk.send { session -> session.principal?.name })
        assertTrue(it.revoke("alice", desk.send { session -> session.trace().handle!! }))
        assertNull(desk.send { session -> session.principal })
        // A login may not follow a revocation within the skew: it could have been under way.
        clock.set(start.plusSeconds(6))
        desk.send { session -> session.login("alice") }
        assertEquals(1L, desk.send { session ->
            session.revokeAll().also { session.login("alice") }
        })
        assertEquals("alice", desk.send { session -> session.principal?.name })
        assertEquals(1L, it.renamePrincipal("alice", "alicia"))
        assertEquals("alicia", desk.send { session -> session.principal?.name })
        assertEquals(1L, it.revokeEverything())
        assertEquals(emptyList<Device>(), it.devices("alicia"))
    }

    @ParameterizedTest
    @ValueSource(strings = ["memory", "own", "own, index apart"])
    fun `of two requests that write at once both survive`(store: String) = over(store) {
        val browser = Browser(it)
        browser.send { session -> session.set("a", 0) }
        val cookies = Request(browser.header, "POST")
        it.open(cookies).use { slow ->
            it.exchange(cookies) { fast ->
                fast.set("a", 1)
                fast.add("n", 2)
                fast.update<List<Int>>("list") { list -> list.orEmpty() + 1 }
            }
            slow.set("b", 1)
            slow.add("n", 3)
            slow.update<List<Int>>("list") { list -> list.orEmpty() + 2 }
            slow.commit()
        }
        browser.send { session ->
            assertEquals(listOf(1, 1, 5), listOf("a", "b", "n").map { key -> session.get<Int>(key) })
            assertEquals(listOf(1, 2), session.get<List<Int>>("list"))
        }
    }

    @ParameterizedTest
    @ValueSource(strings = ["memory", "own"])
    fun `a strict request is refused when what it read was changed, and only then`(store: String) =
        over(store, Policy(concurrency = Concurrency.STRICT)) {
            val browser = Browser(it)
            browser.send { session -> session.set("a", 0); session.set("b", 0) }
            val cookies = Request(browser.header, "POST")
            for ((read, refused) in listOf("a" to true, "b" to false)) {
                it.open(cookies).use { slow ->
                    slow.get<Int>(read)
                    it.exchange(cookies) { fast -> fast.set("a", 1) }
                    slow.set("c", 1)
                    val outcome = runCatching { slow.commit() }
                    assertEquals(refused, outcome.exceptionOrNull() is ConflictException, read)
                }
            }
        }

    @ParameterizedTest
    @ValueSource(strings = ["memory", "own"])
    fun `what is asked of a login is checked on the record`(store: String) = over(store) {
        val browser = Browser(it)
        browser.send { session ->
            assertThrows(UnauthenticatedException::class.java) { session.requireRole("admin") }
            assertThrows(UnauthenticatedException::class.java) { session.requireFresh(1.hours) }
            session.login("alice", listOf("user"), 1)
        }
        clock.set(start.plusSeconds(600))
        browser.send { session ->
            session.requireRole("user")
            assertThrows(ForbiddenException::class.java) { session.requireRole("admin") }
            session.requireFresh(10.minutes)
            assertEquals("not-fresh", assertThrows(UnauthenticatedException::class.java) { session.requireFresh(9.minutes) }.code)
            assertEquals("level-too-low", assertThrows(UnauthenticatedException::class.java) { session.requireLevel(2) }.code)
            session.elevate(2)
            session.requireLevel(2)
            session.requireFresh(0.minutes)
        }
        clock.set(start.plusSeconds(13 * 3600))
        assertNull(browser.send { session -> session.principal })
    }

    // spec: WRITE-19 dc98
    @ParameterizedTest
    @ValueSource(strings = ["memory", "sqlite", "own", "own, index apart"])
    fun `a handler that throws spares neither a session that is over nor one that was copied`(store: String) = over(store) {
        suspend fun fails(cookies: String?) {
            val thrown = runCatching { it.exchange(Request(cookies)) { session -> session.login("eve").also { error("mine") } } }
            assertEquals("mine", thrown.exceptionOrNull()?.message)
        }
        suspend fun written(cookies: String?) = it.exchange(Request(cookies)) { }.head.trace.written
        val owner = Browser(it)
        owner.send { session -> session.login("alice") }
        owner.send { }
        val copied = owner.header
        clock.set(start.plusSeconds(61))
        assertEquals(Rotation.ROTATED, owner.send { session -> session.rotate() })
        owner.send { }
        clock.set(start.plusSeconds(120))
        fails(copied)
        assertNull(owner.send { session -> session.principal })

        owner.send { session -> session.login("alice") }
        clock.set(start.plusSeconds(3600))
        fails(owner.header)
        assertEquals(emptyList<String>(), written(owner.header), "the end was written down already")
    }

    @Test
    fun `a handler that throws gives its turn back`() = over("own", Policy(concurrency = Concurrency.SERIAL)) {
        val browser = Browser(it)
        browser.send { session -> session.set("n", 1) }
        assertTrue(runCatching { browser.send { error("mine") } }.isFailure)
        assertEquals(1, browser.send { session -> session.get<Int>("n") })
    }

    @ParameterizedTest
    @ValueSource(strings = ["memory", "own"])
    fun `tokens against forged requests belong to one login, and messages are shown once`(store: String) = over(store) {
        val (alice, mallory) = Browser(it) to Browser(it)
        listOf(alice, mallory).forEach { browser -> browser.send { session -> session.login("x") } }
        val token = alice.send { session -> session.csrfToken() }
        assertTrue(alice.send { session -> session.checksCsrf(token) })
        assertFalse(mallory.send { session -> session.checksCsrf(token) })
        alice.send { session -> session.flash("saved"); session.flash("careful", "warning") }
        assertEquals(listOf("message" to "saved", "warning" to "careful"), alice.send { session -> session.flashes() })
        assertEquals(emptyList<Pair<String, String>>(), alice.send { session -> session.flashes() })
    }

    @ParameterizedTest
    @ValueSource(strings = ["memory", "own"])
    fun `rotation says what it did, and the client keeps its session`(store: String) = over(store) {
        val browser = Browser(it)
        browser.send { session -> session.login("alice") }
        assertEquals(Rotation.PENDING, browser.send { session -> session.rotate() })
        clock.set(start.plusSeconds(61))
        assertEquals(Rotation.ROTATED, browser.send { session -> session.rotate() })
        assertEquals("alice", browser.send { session -> session.principal?.name })
        assertEquals(Rotation.POSTPONED, browser.send { session -> session.rotate() })
    }

    @ParameterizedTest
    @ValueSource(strings = ["memory", "own", "own, index apart"])
    fun `a limit of sessions holds`(store: String) = over(store, Policy(limit = Limit(1, Beyond.REFUSE))) {
        val (first, second) = Browser(it) to Browser(it)
        first.send { session -> session.login("alice") }
        val refused = runCatching { second.send { session -> session.login("alice") } }.exceptionOrNull()
        assertEquals("limit-reached", (refused as OtherRefusedException).code)
        first.send { session -> session.logout() }
        second.send { session -> session.login("alice") }
    }
}
