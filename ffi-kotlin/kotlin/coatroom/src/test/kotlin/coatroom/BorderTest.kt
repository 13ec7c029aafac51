package coatroom

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.IOException
import java.nio.file.Files
import java.nio.file.Path
import java.time.Instant

/** What can go wrong between Kotlin and the native half. */
internal class BorderTest {
    private fun over(store: MapStore, claim: suspend (Coatroom) -> Unit) =
        Coatroom(store, KEYS).use { runBlocking { claim(it) } }

    private fun overMemory(claim: suspend (Coatroom) -> Unit) =
        Coatroom("memory", KEYS).use { runBlocking { claim(it) } }

    @Test
    fun `a session is of no use after its request`() = overMemory { coatroom ->
        var kept: Session? = null
        coatroom.exchange(Request(null)) { kept = it.also { session -> session.set("a", 1) } }
        val session = checkNotNull(kept)
        val uses = listOf<() -> Unit>(
            { session.get<Int>("a") }, { session.set("a", 2) }, { session.login("a") }, { session.keys }, { session.principal },
            { session.add("a", 1) }, { session.update<Int>("a") { 1 } }, { session.csrfToken() }, { session.requireRole("a") },
        )
        uses.forEach { use -> assertThrows(SessionClosedException::class.java, use) }
        session.close()
        session.close()
    }

    @Test
    fun `a second commit is refused and changes nothing`() = overMemory { coatroom ->
        val browser = Browser(coatroom)
        coatroom.open(Request(null, "POST")).use { session ->
            session.add("n", 1)
            browser.keep(session.commit())
            assertTrue(runCatching { session.commit() }.exceptionOrNull() is SessionClosedException)
        }
        assertEquals(1, browser.send { it.get<Int>("n") })
    }

    @Test
    fun `of two commits at once exactly one is carried out`() = overMemory { coatroom ->
        repeat(200) {
            val session = coatroom.open(Request(null, "POST"))
            session.set("a", 1)
            val outcomes = withContext(Dispatchers.Default) {
                List(2) { async { runCatching { session.commit() } } }.awaitAll()
            }
            assertEquals(1, outcomes.count { it.isSuccess })
        }
    }

    @Test
    fun `a handler that throws leaves nothing behind, and its exception comes out`() {
        val store = MapStore()
        over(store) { coatroom ->
            val thrown = IOException("of the handler")
            val outcome = runCatching {
                coatroom.exchange(Request(null, "POST")) { session -> session.login("a").also { throw thrown } }
            }
            assertSame(thrown, outcome.exceptionOrNull())
            assertTrue(store.records.isEmpty())
        }
    }

    @Test
    fun `a function given to update that throws throws there`() = overMemory { coatroom ->
        val thrown = IOException("of the function")
        Browser(coatroom).send { session ->
            assertSame(thrown, runCatching { session.update<Int>("a") { throw thrown } }.exceptionOrNull())
            assertFalse("a" in session)
        }
    }

    @Test
    fun `a store that throws at a load is unavailable and never nobody`() {
        val store = MapStore()
        over(store) { coatroom ->
            val browser = Browser(coatroom)
            browser.send { it.login("alice") }
            val thrown = IOException("no route")
            store.before = { throw thrown }
            val refused = runCatching { browser.send { error("the handler must not run") } }.exceptionOrNull()
            assertEquals(503, (refused as StoreUnavailableException).status)
            assertSame(thrown, refused.cause)
            store.before = {}
            assertEquals("alice", browser.send { it.principal?.name })
        }
    }

    @Test
    fun `a swap that threw before or after it took place counts once`() {
        val store = MapStore()
        over(store) { coatroom ->
            val browser = Browser(coatroom)
            browser.send { it.login("alice") }
            var faults = 1
            val fault: () -> Unit = { if (faults-- > 0) throw IOException("torn") }
            store.before = { if (it == "swap") fault() }
            browser.send { it.add("n", 1) }
            store.before = {}
            faults = 1
            store.afterSwap = { fault() }
            browser.send { it.add("n", 1) }
            assertEquals(2, browser.send { it.get<Int>("n") })
        }
    }

    @Test
    fun `an answer that is none to the question is a mistake of the store, and says so`() {
        val store = object : Store by MapStore(entersWithSwap = false) {
            override val entersWithSwap get() = false

            override suspend fun enter(entry: Entry): Swapped = Swapped.Done
        }
        Coatroom(store, KEYS).use { coatroom ->
            val refused = runCatching { runBlocking { Browser(coatroom).send { it.login("alice") } } }.exceptionOrNull()
            assertEquals("border", (refused as BadCallException).code)
        }
    }

    @Test
    fun `cancellation during a load ends the exchange and writes nothing`() {
        val store = MapStore()
        over(store) { coatroom ->
            val browser = Browser(coatroom)
            browser.send { it.set("a", 1) }
            val (asked, never) = CompletableDeferred<Unit>() to CompletableDeferred<Unit>()
            store.before = { asked.complete(Unit).also { never.await() } }
            coroutineScope {
                val request = launch { browser.send { error("the handler must not run") } }
                asked.await()
                request.cancel()
                request.join()
                assertTrue(request.isCancelled)
            }
            store.before = {}
            assertEquals(1, browser.send { it.get<Int>("a") })
        }
    }

    @Test
    fun `a handler that is cancelled spares no session that is over`() {
        val (store, clock) = MapStore() to TestClock(Instant.EPOCH)
        Coatroom(store, KEYS, Policy(), clock).use { coatroom ->
            runBlocking {
                val browser = Browser(coatroom)
                browser.send { it.login("alice") }
                clock.set(Instant.EPOCH.plusSeconds(3600))
                val began = CompletableDeferred<Unit>()
                val request = launch { browser.send { began.complete(Unit).also { awaitCancellation() } } }
                began.await()
                request.cancelAndJoin()
                assertEquals(emptyList<String>(), coatroom.exchange(Request(browser.header)) { }.head.trace.written)
            }
        }
    }

    @Test
    fun `cancellation during a swap waits for its end`() {
        val store = MapStore()
        over(store) { coatroom ->
            val browser = Browser(coatroom)
            browser.send { it.set("a", 1) }
            val (swapping, go) = CompletableDeferred<Unit>() to CompletableDeferred<Unit>()
            store.before = { if (it == "swap") swapping.complete(Unit).also { go.await() } }
            coroutineScope {
                val request = launch { browser.send { it.set("a", 2) } }
                swapping.await()
                request.cancel(CancellationException("the client went away"))
                go.complete(Unit)
                request.join()
            }
            store.before = {}
            assertEquals(2, browser.send { it.get<Int>("a") })
        }
    }

    @Test
    fun `a thousand exchanges at once all count`() {
        for (coatroom in listOf(Coatroom("memory", KEYS), Coatroom(MapStore(), KEYS))) coatroom.use {
            runBlocking {
                val browsers = List(100) { Browser(coatroom).also { it.send { session -> session.login("alice") } } }
                withContext(Dispatchers.Default) {
                    List(1000) { at ->
                        async(start = CoroutineStart.LAZY) {
                            whenBusyAgain { coatroom.exchange(Request(browsers[at % 100].header, "POST")) { it.add("n", 1) } }
                        }
                    }.awaitAll()
                }
                assertEquals(List(100) { 10 }, browsers.map { it.send { session -> session.get<Int>("n") } })
            }
        }
    }

    /** `-Dcoatroom.exchanges=1000000` for the long run. */
    @Test
    fun `memory stays flat over many exchanges`() = overMemory { coatroom ->
        val exchanges = Integer.getInteger("coatroom.exchanges", 20_000)
        val browser = Browser(coatroom)
        browser.send { it.set("a", "x".repeat(200)) }
        val request = Request(browser.header)
        suspend fun run(count: Int) = repeat(count) { at ->
            // Committed, or given up: neither leaves anything behind.
            val session = coatroom.open(request)
            session.get<String>("a")
            if (at % 2 == 0) session.commit()
            session.close()
        }
        run(exchanges)
        val before = residentKb()
        run(exchanges)
        val after = residentKb()
        val grown = after - before
        println("memory: $before KiB after $exchanges exchanges, $after KiB after as many more")
        assertTrue(grown < 32 * 1024, "$grown KiB in $exchanges exchanges")
    }

    @Test
    fun `a wrong policy, key or store is refused at start`() {
        val attempts = listOf<() -> Coatroom>(
            { Coatroom("memory", Keys("1:short")) },
            { Coatroom("nonsense", KEYS) },
            { Coatroom("memory", KEYS, Policy(size = -1)) },
            { Coatroom("memory", KEYS, Policy(limit = Limit(0, Beyond.REFUSE))) },
        )
        attempts.forEach { attempt -> assertThrows(ConfigException::class.java) { attempt() } }
    }

    @Test
    fun `bytes that are no cookie are nobody, whatever they are`() = overMemory { coatroom ->
        val random = kotlin.random.Random(1)
        repeat(500) {
            val junk = String(CharArray(random.nextInt(200)) { random.nextInt(0x110).toChar() })
            val head = coatroom.exchange(Request("__Host-id=$junk; $junk")) { assertNull(it.principal) }.head
            assertEquals(emptyList<String>(), head.setCookies)
        }
    }

    /** Busy says that nothing was written: asking again counts once. */
    private tailrec suspend fun whenBusyAgain(work: suspend () -> Unit) {
        val outcome = runCatching { work() }
        if (outcome.exceptionOrNull() !is BusyException) return outcome.getOrThrow()
        whenBusyAgain(work)
    }

    private fun residentKb(): Long {
        System.gc()
        val pages = Files.readString(Path.of("/proc/self/statm")).split(' ')[1].toLong()
        return pages * 4
    }
}
