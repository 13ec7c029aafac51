package coatroom

import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import java.time.Instant

internal val KEYS = Keys("1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE")

/** A store as an application would write one, over a map. */
internal class MapStore(override val entersWithSwap: Boolean = true) : Store {
    val records = HashMap<String, ByteArray>()
    private val index = HashMap<String, LinkedHashMap<String, Instant>>()
    private val bars = HashMap<String, Instant>()
    private val lock = Mutex()

    /** Comes before every call, and may throw. */
    var before: suspend (call: String) -> Unit = {}

    /** Comes after every swap that took place, before the answer. */
    var afterSwap: suspend (Swap) -> Unit = {}

    override suspend fun load(handle: String): ByteArray? = call("load") { records[handle] }

    override suspend fun swap(swap: Swap): Swapped {
        val answer = call("swap") {
            val present = records[swap.handle]
            val enters = swap.enters?.takeIf { entersWithSwap }
            when {
                !swap.expects(present) -> Swapped.Conflict(present)
                enters != null && !hasRoom(enters) -> Swapped.Full
                else -> {
                    swap.record.let { if (it == null) records.remove(swap.handle) else records[swap.handle] = it }
                    swap.leaves?.takeIf { entersWithSwap }?.let { index[it]?.remove(swap.handle) }
                    enters?.let(::entered) ?: Swapped.Done
                }
            }
        }
        if (answer is Swapped.Done || answer is Swapped.Entered) afterSwap(swap)
        return answer
    }

    override suspend fun enter(entry: Entry): Swapped =
        call("enter") { if (hasRoom(entry)) entered(entry) else Swapped.Full }

    override suspend fun sessions(principal: String): List<String> =
        call("sessions") { index[principal]?.keys?.toList().orEmpty() }

    override suspend fun leave(principal: String, handle: String) {
        call("leave") { index[principal]?.remove(handle) }
    }

    override suspend fun bar(principal: String, now: Instant): Instant = call("bar") {
        val moment = maxOf(now, bars[principal]?.plusMillis(1) ?: Instant.EPOCH)
        moment.also { bars[principal] = it }
    }

    override suspend fun scan(from: ByteArray?, max: Int): Scan = call("scan") { Scan(records.keys.toList(), null) }

    private fun hasRoom(entry: Entry): Boolean {
        val listed = index[entry.principal].orEmpty().filter { (handle, until) -> handle != entry.handle && until > entry.now }
        return entry.atMost?.let { listed.size < it } ?: true
    }

    private fun entered(entry: Entry): Swapped {
        val listed = index.getOrPut(entry.principal) { LinkedHashMap() }
        val before = if (entry.handle in listed) null else listed.entries.sortedBy { it.value }.map { it.key }
        listed[entry.handle] = entry.until
        return Swapped.Entered(bars[entry.principal], listed.size, before?.take(entry.names))
    }

    private suspend fun <T> call(name: String, work: () -> T): T {
        before(name)
        return lock.withLock { work() }
    }
}

/** A cookie jar. */
internal class Browser(private val coatroom: Coatroom) {
    val cookies = LinkedHashMap<String, String>()

    val header: String? get() = cookies.entries.joinToString("; ") { (name, value) -> "$name=$value" }.ifEmpty { null }

    suspend fun <T> send(method: String = "POST", handler: suspend (Session) -> T): T {
        val reply = coatroom.exchange(Request(header, method), handler)
        keep(reply.head)
        return reply.value
    }

    fun keep(head: ResponseHead) = head.setCookies.forEach { line ->
        val (name, value) = line.substringBefore(';').split('=', limit = 2)
        if (line.contains("Max-Age=0")) cookies.remove(name) else cookies[name] = value
    }
}
