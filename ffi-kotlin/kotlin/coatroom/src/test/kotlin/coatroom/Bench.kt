package coatroom

import coatroom.border.Config
import coatroom.border.Head
import kotlinx.coroutines.runBlocking
import java.lang.management.ManagementFactory
import coatroom.border.Coatroom as Native

private const val ROUNDS = 40
private const val BATCH = 2_000
private const val BYTES = 200

/** What an exchange costs that only reads, over the memory store: `ffi-kotlin/kotlin/bench`. */
public fun main() {
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
