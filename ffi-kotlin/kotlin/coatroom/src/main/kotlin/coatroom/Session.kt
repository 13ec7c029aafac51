package coatroom

import coatroom.border.Call
import coatroom.border.Closed
import coatroom.border.DeviceParts
import coatroom.border.Exchange
import coatroom.border.Given
import coatroom.border.Head
import coatroom.border.Person
import coatroom.border.Step
import coatroom.border.TraceParts
import coatroom.border.Updater
import coatroom.border.View
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.withContext
import kotlinx.serialization.KSerializer
import kotlinx.serialization.builtins.ListSerializer
import kotlinx.serialization.builtins.serializer
import kotlinx.serialization.serializer
import java.time.Instant
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds

/**
 * The session of one request. What a handler does to it is written when the exchange ends, and not before.
 *
 * Values are typed by kotlinx.serialization: `session.set("cart", Cart(...))`, `session.get<Cart>("cart")`. A value that was
 * read is a copy: set it again after changing it. May be used from several coroutines of the same request.
 */
public class Session internal constructor(
    private val coatroom: Coatroom,
    private val half: Half,
    view: View,
    private val asker: Asker?,
    private val hasTurn: Boolean,
) : AutoCloseable {
    private val lock = Any()
    private val batch = Batch()
    private val values = LinkedHashMap<String, ByteArray>()
    private var person: Person? = null
    private var seen: TraceParts = view.trace

    /** Whether it can be used still: neither committed nor closed. */
    public var isOpen: Boolean = true
        private set
    private var sawKeys = false
    private var sawPerson = false
    private val sawKey = HashSet<String>()

    init {
        show(view)
    }

    /** Who is logged in. */
    public val principal: Principal?
        get() = synchronized(lock) { person()?.let(::Principal) }

    /** All keys. */
    public val keys: List<String>
        get() = use {
            if (!sawKeys) batch.edit("keys")
            sawKeys = true
            values.keys.toList()
        }

    /** The value of a key as it is: null, Boolean, Long, Double, String, ByteArray, List, or Map with texts for keys. */
    public fun value(key: String): Any? = bytes(key)?.let { CborReader(it).value() }

    /** The value of a key; null when there is none. */
    public inline fun <reified T : Any> get(key: String): T? = get(key, serializer<T>())

    /** The value of a key; null when there is none. */
    public fun <T> get(key: String, serializer: KSerializer<T>): T? = bytes(key)?.let { decode(serializer, it) }

    /** Sets a key. */
    public inline fun <reified T> set(key: String, value: T): Unit = set(key, value, serializer<T>())

    /** Sets a key. */
    public fun <T> set(key: String, value: T, serializer: KSerializer<T>): Unit = setBytes(key, encode(serializer, value))

    /** Whether there is such a key. */
    public operator fun contains(key: String): Boolean = bytes(key) != null

    /** Removes a key; removing an absent one is nothing. */
    public fun remove(key: String): Unit = use {
        batch.edit("remove") { text(key) }
        values.remove(key)
    }

    /** Removes all keys. */
    public fun clear(): Unit = use {
        batch.edit("clear")
        values.clear()
    }

    /**
     * Adds to the integer at a key, which starts at 0. Sums with the additions of other requests, and never conflicts. The sum
     * as this request sees it.
     */
    public fun add(key: String, n: Long): Long = checkNotNull(apply("add") { text(key).int(n) }.sum)

    /** Replaces a value by a function of it, which runs again on the fresh value if another request was faster. */
    public inline fun <reified T : Any> update(key: String, noinline function: (T?) -> T): Unit =
        update(key, serializer<T>(), function)

    /** Replaces a value by a function of it, which runs again on the fresh value if another request was faster. */
    public fun <T> update(key: String, serializer: KSerializer<T>, function: (T?) -> T) {
        val runs = Function(serializer, function)
        use {
            native { half.apply(batch.take()) }
            runs.rethrow { show(native { half.exchange.update(key, runs) }) }
        }
    }

    /** Refuses the commit if a key that was read or set from here on is changed by another request meanwhile. */
    public fun strict(): Unit = use {
        batch.edit("strict")
        sawKeys = false
        sawKey.clear()
    }

    /** Logs somebody in: every older id of the session is dead at once. Level 0 is a login that was merely remembered. */
    public fun login(principal: String, roles: List<String> = emptyList(), level: Int = 1) {
        apply("login") { text(principal).texts(roles).int(level.toLong()) }
    }

    /** Remembers whoever is logged in beyond the session, where [Remember] says how: after [login], if the user wants it. */
    public fun remember() {
        apply("remember")
    }

    /** Changes the level of authentication. */
    public fun elevate(level: Int) {
        apply("elevate") { int(level.toLong()) }
    }

    /** Ends the session. What is set afterwards goes to a fresh one. */
    public fun logout() {
        apply("logout")
    }

    /** Asks for a new id for the same principal. */
    public fun rotate(): Rotation = Rotation.valueOf(checkNotNull(apply("rotate").rotation).uppercase())

    /** Notes what a list of devices shows of this client. */
    public fun describeClient(label: String, address: String) {
        apply("client") { text(label).text(address) }
    }

    /** Says that the response head is gone: rotation waits, and any other write is refused. */
    public fun headSent(): Unit = use { batch.edit("head-sent") }

    /** Forgets every change: the response is an error and acknowledges nothing. */
    public fun discard() {
        apply("discard")
    }

    /** Leaves a message for the next page that asks for [flashes]. */
    public fun flash(text: String, category: String = "message"): Unit =
        update(FLASHES, flashes) { (it ?: emptyList()) + listOf(listOf(category, text)) }

    /** The messages left so far, category and text; they are gone then. */
    public fun flashes(): List<Pair<String, String>> {
        val left = get(FLASHES, flashes) ?: return emptyList()
        remove(FLASHES)
        return left.map { (category, text) -> category to text }
    }

    /** Refuses unless somebody with this role is logged in. */
    public fun requireRole(role: String): Unit = use { native { half.exchange.requireRole(role) } }

    /** Refuses unless whoever is logged in proved who they are no longer ago than this. Level 0 is never fresh. */
    public fun requireFresh(within: Duration): Unit =
        use { native { half.exchange.requireFresh(within.inWholeMilliseconds) } }

    /** Refuses unless somebody with this level of authentication or a higher one is logged in. */
    public fun requireLevel(level: Int): Unit = use { native { half.exchange.requireLevel(level.toLong()) } }

    /** The live sessions of whoever is logged in, the one used last first. */
    public suspend fun devices(): List<Device> = coatroom.devices(present().name, handle())

    /** Ends one session of whoever is logged in, and says whether it was live. */
    public suspend fun revoke(handle: String): Boolean = coatroom.revoke(present().name, handle)

    /** Ends all sessions of whoever is logged in but this one; how many. */
    public suspend fun revokeOthers(): Long = revokeAll(handle())

    /** Ends all sessions of whoever is logged in; how many. A login of this request that follows stands. */
    public suspend fun revokeAll(): Long = revokeAll(null)

    private suspend fun revokeAll(but: String?): Long {
        val revoked = coatroom.call(Call.RevokeAll(present().name, but)) as Given.Revoked
        use { batch.edit("revoked") { int(revoked.momentMs) } }
        return revoked.ended
    }

    /**
     * A fresh copy of the token against forged requests: of whoever is logged in, or of the visitor whose cookie holds this.
     * Not between a login and the end of its request.
     */
    public fun csrfToken(visitor: ByteArray = ByteArray(0)): ByteArray =
        use { native { half.exchange.csrfToken(direct(visitor)) } }

    /** Whether a token is that of whoever is logged in, or of the visitor whose cookie holds this. */
    public fun checksCsrf(token: ByteArray, visitor: ByteArray = ByteArray(0)): Boolean =
        use { native { half.exchange.csrfChecks(direct(visitor), apart(token)) } }

    /** Lets somebody use the native half of this exchange. */
    internal fun <T> exchanging(work: (Exchange) -> T): T = use { work(half.exchange) }

    /** What the exchange found, and what closing it now would write. */
    public fun trace(): Trace = Trace(apply("who").trace)

    /**
     * Ends the exchange: when this returns, every write is acknowledged. It is not cancelled on the way.
     *
     * @param vary the Vary header that the response has
     * @param cacheControl the Cache-Control header that the response has
     */
    public suspend fun commit(vary: String? = null, cacheControl: String? = null): ResponseHead {
        val edits = use { batch.take().also { isOpen = false } }
        return end(edits, Head(vary, cacheControl))
    }

    /**
     * Ends the exchange of a handler that failed: nothing that it asked for is written, but what the presented id calls for is
     * (that the session is over, or that an id was copied). Refuses nothing, is not cancelled on the way, and does nothing once
     * the exchange is over.
     */
    // spec: WRITE-19 dc98
    public suspend fun abandon() {
        synchronized(lock) {
            if (!isOpen) return
            isOpen = false
        }
        // No head goes out with what is thrown, so no id may be replaced.
        val edits = Batch().apply {
            edit("head-sent")
            edit("discard")
        }
        // Whoever called throws what the handler threw.
        runCatching { end(edits.take(), Head()) }
    }

    private suspend fun end(edits: ByteArray, present: Head): ResponseHead = withContext(NonCancellable) {
        try {
            val first = coatroom.commitOnIo(hasTurn) { native { half.commit(edits, present) } }
            head((coatroom.drive(first, asker) { half.exchange.answer(it) } as Step.Closed).closed)
        } finally {
            half.close()
        }
    }

    /** Lets go of the exchange; whatever was not committed is not written. Doing it twice is doing it once. */
    override fun close() {
        synchronized(lock) {
            isOpen = false
            half.close()
        }
    }

    override fun toString(): String = "Session"

    private fun handle(): String? = use {
        person()
        seen.handle
    }

    private fun present(): Principal =
        principal ?: throw UnauthenticatedException("unauthenticated", "nobody is logged in")

    private fun person(): Person? = use {
        if (!sawPerson) batch.edit("who")
        sawPerson = true
        person
    }

    internal fun setBytes(key: String, encoded: ByteArray): Unit = use {
        batch.edit("set") { text(key).bytes(encoded) }
        values[key] = encoded
    }

    internal fun bytes(key: String): ByteArray? = use {
        if (sawKey.add(key)) batch.edit("read") { text(key) }
        values[key]
    }

    /** Does an edit at once, with those before it, and shows what the session looks like then. */
    private fun apply(word: String, rest: Batch.() -> Unit = {}): View = use {
        batch.edit(word, rest)
        native { half.apply(batch.take()) }.also(::show)
    }

    private fun show(view: View) {
        values.clear()
        view.data.associateTo(values) { it.key to it.value }
        person = view.person
        seen = view.trace
    }

    private inline fun <T> use(work: () -> T): T = synchronized(lock) {
        if (!isOpen) {
            val reason = "the exchange is over: use the session of the present request"
            throw SessionClosedException("wrong-stage", reason)
        }
        work()
    }

    private companion object {
        const val FLASHES = "_flash"
        val flashes: KSerializer<List<List<String>>> = ListSerializer(ListSerializer(String.serializer()))
    }
}

private fun head(closed: Closed) =
    ResponseHead(closed.setCookies, closed.vary, closed.cacheControl, Trace(closed.trace))

/** A function of the application, called from the native half; what it throws waits here for whoever called. */
private class Function<T>(private val serializer: KSerializer<T>, private val function: (T?) -> T) : Updater {
    private var thrown: Throwable? = null

    @Suppress("TooGenericExceptionCaught") // It must not cross the border.
    override fun update(present: ByteArray?): ByteArray? =
        try {
            encode(serializer, function(present?.let { decode(serializer, it) }))
        } catch (error: Throwable) {
            thrown = error
            throw coatroom.border.Refusal.Refused(
                "update-refused", "the function threw", coatroom.border.Advice.ASK_AGAIN, 409, emptyList(),
            )
        }

    fun rethrow(call: () -> Unit) =
        try {
            call()
        } catch (refused: CoatroomException) {
            throw thrown ?: refused
        }
}

/** Who is logged in. */
public class Principal internal constructor(person: Person) {
    /** The application's own name for whoever is logged in. */
    public val name: String = person.name

    /** Sorted. */
    public val roles: List<String> = person.roles

    /** Level of authentication, as the application counts it. */
    public val level: Int = person.level.toInt()

    /** When the present login or elevation took place. */
    public val authenticatedAt: Instant = Instant.ofEpochMilli(person.authenticatedAtMs)

    override fun toString(): String = "Principal($name)"
}

/** What [Session.rotate] did. */
public enum class Rotation {
    /** The id will be replaced when the exchange ends. */
    ROTATED,

    /** A new id is already on its way to the client. */
    PENDING,

    /** Not now: nobody is logged in, or the last rotation was too recent. */
    POSTPONED,
}

/** One live session of a principal. */
public class Device internal constructor(parts: DeviceParts, public val isThis: Boolean) {
    /** The session's public name. */
    public val handle: String = parts.handle

    /** A label for people. */
    public val label: String = parts.label

    /** The network address at the last login. */
    public val address: String = parts.address

    /** When it was created. */
    public val createdAt: Instant = Instant.ofEpochMilli(parts.createdAtMs)

    /** When it was used last. */
    public val seenAt: Instant = Instant.ofEpochMilli(parts.seenAtMs)

    /** When its principal logged in or was last elevated. */
    public val authenticatedAt: Instant = Instant.ofEpochMilli(parts.authenticatedAtMs)

    /** When it is over at the latest. */
    public val deadline: Instant = Instant.ofEpochMilli(parts.deadlineMs)

    /** Level of authentication. */
    public val level: Int = parts.level.toInt()
}

/** What an exchange found, and has written or would write. */
public class Trace internal constructor(parts: TraceParts) {
    /** The state of the presented id; null when there was none. */
    public val state: String? = parts.state

    /** The session's public name. */
    public val handle: String? = parts.handle

    /** How many ids were issued before the present one. */
    public val generation: Long? = parts.generation?.toLong()

    /** What is written. */
    public val written: List<String> = parts.written

    /** Calls of the store. */
    public val trips: Int = parts.trips.toInt()

    /** Time until the idle limit. */
    public val idleLeft: Duration? = parts.idleLeftMs?.milliseconds

    /** Time until the absolute limit. */
    public val absoluteLeft: Duration? = parts.absoluteLeftMs?.milliseconds

    /** What was noticed. */
    public val events: List<Event> = events(parts.events)
}

/** What a handler did, in the bytes that the native half reads (`edits.rs`). */
internal class Batch {
    private var edits = 0
    private var writer = CborWriter()
    private var items = 0
    private var edit = CborWriter()

    fun edit(word: String, rest: Batch.() -> Unit = {}) {
        items = 1
        edit = CborWriter().apply { text(word) }
        rest()
        writer.list(items)
        writer.raw(edit.bytes())
        edits++
    }

    fun text(value: String) = item { text(value) }

    fun int(value: Long) = item { int(value) }

    fun bytes(value: ByteArray) = item { value(value) }

    fun texts(values: List<String>) = item { value(values) }

    /** The edits so far; those that follow are another batch. */
    fun take(): ByteArray {
        if (edits == 0) return writer.bytes()
        val batch = CborWriter().apply {
            list(edits)
            raw(writer.bytes())
        }
        edits = 0
        writer = CborWriter()
        return batch.bytes()
    }

    private fun item(write: CborWriter.() -> Unit): Batch = apply {
        items++
        edit.write()
    }
}
