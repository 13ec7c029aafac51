package coatroom

import coatroom.border.Answer
import coatroom.border.Ask
import coatroom.border.EntryParts
import coatroom.border.ListingParts
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.delay
import kotlinx.coroutines.ensureActive
import java.time.Instant

/**
 * A store of the application. The contract is that of the Rust trait `Store`; in short:
 *
 * - [load] returns the bytes of the last swap under the handle, and null when there are none;
 * - [swap] compares, writes and answers as one indivisible step, and is sent at most once: the own retry of a client is off;
 * - the index never misses a session that was entered and neither left nor ended by a swap that says so.
 *
 * An exception means that the store did not answer: a load is then unavailable and never "nobody", and a swap is in doubt
 * until a load shows what became of it. It becomes the cause of whatever is thrown in the end.
 */
public interface Store {
    /** Whether [swap] answers [Swapped.Entered] itself, index and record in one step. Otherwise [enter] follows. */
    public val entersWithSwap: Boolean get() = true

    /** The record under a handle. */
    public suspend fun load(handle: String): ByteArray?

    /** Replaces, creates or removes a record if the store still holds what the swap expects. */
    public suspend fun swap(swap: Swap): Swapped

    /** Makes or renews an entry of the index; doing it twice is doing it once. [Swapped.Entered] or [Swapped.Full]. */
    public suspend fun enter(entry: Entry): Swapped

    /** The sessions entered under a principal and not left. Some may be over. */
    public suspend fun sessions(principal: String): List<String>

    /** Removes the entry of a session that is over. */
    public suspend fun leave(principal: String, handle: String)

    /** Notes that all sessions of a principal are revoked as of now; the moment it gave this: later than any before. */
    public suspend fun bar(principal: String, now: Instant): Instant

    /** About so many handles, and where to go on; only `revokeEverything` asks. */
    public suspend fun scan(from: ByteArray?, max: Int): Scan
}

/** A compare-and-swap on one record; there is no other way to write. */
public class Swap internal constructor(private val ask: Ask.Swap) {
    /** Where. */
    public val handle: String get() = ask.handle

    /** What is stored then; null removes the record. */
    public val record: ByteArray? get() = ask.`record`

    /** It must survive a crash once it is acknowledged. */
    public val durable: Boolean get() = ask.durable

    /** From when on the new record is garbage; no access depends on it. */
    public val garbageAt: Instant get() = Instant.ofEpochMilli(ask.garbageAtMs)

    /** The entry of the index that goes with it. */
    public val enters: Entry? get() = (ask.listing as? ListingParts.Enter)?.entry?.let(::Entry)

    /** Whose session has ended, so that its entry goes. */
    public val leaves: String? get() = (ask.listing as? ListingParts.Leave)?.principal

    /** Whether what is stored now is what this swap expects. */
    public fun expects(present: ByteArray?): Boolean {
        val expected = ask.expected ?: return present == null
        return present != null && present.size >= STAMP_END && present.copyOfRange(STAMP_AT, STAMP_END).contentEquals(expected)
    }

    private companion object {
        const val STAMP_AT = 2
        const val STAMP_END = 18
    }
}

/** One line of the index of principals. */
public class Entry internal constructor(private val parts: EntryParts) {
    /** Who is logged in. */
    public val principal: String get() = parts.principal

    /** Where. */
    public val handle: String get() = parts.handle

    /** The session is over by then, come what may. */
    public val until: Instant get() = Instant.ofEpochMilli(parts.untilMs)

    /** When this was asked for: entries whose [until] is not later are garbage. */
    public val now: Instant get() = Instant.ofEpochMilli(parts.nowMs)

    /** Enter only if fewer other sessions are listed. */
    public val atMost: Int? get() = parts.atMost?.toInt()

    /** How many of the sessions that were listed before it are to be named, those that are over first. */
    public val names: Int get() = parts.names.toInt()
}

/** What a store answers to a swap. */
public sealed class Swapped {
    /** It took place. An entry that goes with it is still to be made. */
    public object Done : Swapped()

    /**
     * It took place, and the entry that goes with it.
     *
     * @property revoked the moment of the last [Store.bar] for the principal
     * @property agoMs how long ago that was by the store's own clock; null where all callers share the clock of one host
     * @property count how many sessions of the principal are listed now
     * @property before the others that were listed before, as many as [Entry.names] asks for; null if this one was listed already
     */
    public class Entered(
        public val revoked: Instant?,
        public val count: Int,
        public val before: List<String>?,
        public val agoMs: Long? = null,
    ) : Swapped()

    /** It did not: as many sessions are listed as the entry allows. */
    public object Full : Swapped()

    /** It did not: something else is stored, namely this. */
    public class Conflict(public val present: ByteArray?) : Swapped()

    /** It may or may not have taken place. */
    public object Unknown : Swapped()

    /** It did not: the store could not be reached. */
    public object Unavailable : Swapped()
}

/** A piece of a scan. */
public class Scan(public val handles: List<String>, public val next: ByteArray?)

/** Asks the application, and keeps what it threw. */
internal class Asker(private val own: Store?, private val remember: Remember?) {
    private val store get() = checkNotNull(own)

    var thrown: Throwable? = null
        private set

    suspend fun ask(ask: Ask): Answer = when (ask) {
        is Ask.Load -> orUnavailable { store.load(ask.handle)?.let { Answer.Found(it) } ?: Answer.Absent }
        is Ask.Swap -> orElse(Answer.Unknown) { answer(store.swap(Swap(ask))) }
        is Ask.Enter -> orUnavailable { answer(store.enter(Entry(ask.entry))) }
        is Ask.Sessions -> orUnavailable { Answer.Handles(store.sessions(ask.principal)) }
        is Ask.Leave -> orUnavailable { Answer.Done.also { store.leave(ask.principal, ask.handle) } }
        is Ask.Bar -> orUnavailable {
            Answer.Moment(store.bar(ask.principal, Instant.ofEpochMilli(ask.nowMs)).toEpochMilli())
        }
        is Ask.Scan -> orUnavailable { store.scan(ask.from, ask.max.toInt()).let { Answer.Scanned(it.handles, it.next) } }
        is Ask.Roles -> orUnavailable { Answer.Roles(checkNotNull(remember).rolesOf(ask.principal)) }
        is Ask.Pause -> Answer.Done.also { delay(ask.ms) }
    }

    private suspend fun orUnavailable(call: suspend () -> Answer): Answer = orElse(Answer.Unavailable, call)

    @Suppress("TooGenericExceptionCaught") // Whatever a store throws, a session is never taken for nobody's.
    private suspend fun orElse(otherwise: Answer, call: suspend () -> Answer): Answer =
        try {
            call()
        } catch (error: Exception) {
            // Our own cancellation goes on; a time-out inside the store is an answer that did not come.
            currentCoroutineContext().ensureActive()
            thrown = error
            otherwise
        }

    private fun answer(swapped: Swapped): Answer = when (swapped) {
        Swapped.Done -> Answer.Done
        is Swapped.Entered -> {
            val revoked = swapped.revoked?.toEpochMilli() ?: 0
            Answer.Entered(revoked, swapped.agoMs, swapped.count.toUInt(), swapped.before)
        }
        Swapped.Full -> Answer.Full
        is Swapped.Conflict -> Answer.Conflict(swapped.present)
        Swapped.Unknown -> Answer.Unknown
        Swapped.Unavailable -> Answer.Unavailable
    }
}
