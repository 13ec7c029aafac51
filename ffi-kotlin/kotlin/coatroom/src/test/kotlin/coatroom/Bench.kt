package coatroom

import coatroom.border.Config
import coatroom.border.Head
import io.lettuce.core.RedisClient
import io.lettuce.core.codec.ByteArrayCodec
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import java.lang.management.ManagementFactory
import kotlin.coroutines.EmptyCoroutineContext
import coatroom.border.Coatroom as Native

private const val ROUNDS = 40
private const val BATCH = 2_000
private const val WARM = 10_000
private const val BYTES = 200
private const val CART = 160

/** What an exchange costs that only reads, over the memory store: `ffi-kotlin/kotlin/bench`. */
public fun main() {
    System.err.println(if (HotCalls.areBound) "hot calls by JNI" else "all calls by JNA")
    System.getenv("COATROOM_BENCH_REDIS")?.let { return besideTheDriver(it) }
    Coatroom("memory", KEYS).use { coatroom ->
        val browser = Browser(coatroom)
        runBlocking { browser.send { it.set("cart", "x".repeat(BYTES)) }.also { browser.send { } } }
        val request = Request(browser.header)
        val native = Native(Config("memory", KEYS.ring, policy = Policy().parts()), null)
        measure("one call that does nothing but read the clock") { native.nowMs() }
        measure("whole read exchange, $BYTES bytes, 2 calls") {
            check(coatroom.exchange(request) { it.get<String>("cart") }.value?.length == BYTES)
        }
        measure("whole exchange of a visitor without a session") { coatroom.exchange(Request(null)) { } }
        measure("begin and commit alone, generated code") {
            native.begin(direct(ByteArray(0)), false).exchange.use { it.commit(direct(ByteArray(0)), Head()) }
        }
        var n = 0L
        measure("whole exchange that writes with set, 2 calls") { coatroom.exchange(request) { it.set("n", n++) } }
        measure("whole exchange that adds, 3 calls") { coatroom.exchange(request) { it.add("n", 1) } }
    }
}

/** The best and the middle of many short batches, in CPU time of this thread: the machine may be busy. */
private fun measure(what: String, work: suspend () -> Unit) = runBlocking {
    val clock = ManagementFactory.getThreadMXBean()
    val spans = List(ROUNDS) {
        val start = clock.currentThreadCpuTime
        repeat(BATCH) { work() }
        (clock.currentThreadCpuTime - start) / BATCH.toDouble() / 1_000
    }.drop(ROUNDS / 4).sorted()
    println("%-52s %7.1f us best, %7.1f us median".format(what, spans.first(), spans[spans.size / 2]))
}

/**
 * Exchanges over Redis in rounds that `store/benches/redis.rs` asks for, each with the session that it has there too; and
 * what Lettuce takes for the record alone.
 */
private fun besideTheDriver(url: String) = Coatroom(url, KEYS).use { coatroom ->
    runBlocking {
        val browser = Browser(coatroom)
        browser.send { session ->
            session.login("ada", roles = listOf("admin"))
            session.set("n", 0)
            session.set("name", "Ada Lovelace")
            session.set("cart", "x".repeat(CART))
        }
        browser.send { }
        val request = Request(browser.header)
        RedisClient.create(url).use { client ->
            val lettuce = client.connect(ByteArrayCodec.INSTANCE).sync()
            val key = "floor:s:AAAAAAAAAAAAAAAA".toByteArray()
            val read: suspend () -> Unit = {
                coatroom.exchange(request) { check(it.get<Int>("n") != null && it.get<String>("name") != null) }
            }
            val write: suspend () -> Unit = { coatroom.exchange(request) { it.add("n", 1) } }
            val works = mapOf<String, suspend () -> Unit>(
                "read exchange" to read,
                "write exchange" to write,
                "read exchange now" to read,
                "write exchange now" to write,
                "GET" to { check(lettuce.get(key) != null) },
                "GET + SET" to { lettuce.set(key, lettuce.get(key)) },
            )
            // As in a service that has run for some seconds: everything is compiled.
            withContext(Dispatchers.IO) { works.values.forEach { work -> repeat(WARM) { work() } } }
            for (line in generateSequence(::readLine)) {
                val (count, word) = line.split(' ', limit = 2)
                // Now: by a caller that is where one may wait, so that no thread has to be woken.
                val place = if (word.endsWith(" now")) Dispatchers.IO else EmptyCoroutineContext
                val spans = withContext(place) { works[word]?.let { work -> List(count.toInt()) { timed(work) } } }
                println(spans.orEmpty().joinToString(" "))
            }
        }
    }
}

private suspend fun timed(work: suspend () -> Unit): Long {
    val start = System.nanoTime()
    work()
    return System.nanoTime() - start
}
