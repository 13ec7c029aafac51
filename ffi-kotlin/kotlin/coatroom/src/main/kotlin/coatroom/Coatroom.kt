package coatroom

import coatroom.border.Call
import coatroom.border.Config
import coatroom.border.Given
import coatroom.border.ManualClock
import coatroom.border.Step
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.isActive
import kotlinx.coroutines.withContext
import java.time.Instant
import java.util.concurrent.ConcurrentHashMap
import kotlin.coroutines.ContinuationInterceptor
import kotlin.time.Duration
import kotlin.time.Duration.Companion.days
import coatroom.border.Coatroom as Native
import coatroom.border.Remember as RememberParts
import coatroom.border.Revocations as NativeRevocations

/**
 * Sessions for an application: a policy, keys and a store. Make one and share it between all requests.
 *
 * ```
 * val coatroom = Coatroom("sqlite:sessions.db", Keys.fromEnvironment())
 * val reply = coatroom.exchange(Request(cookieHeader, "POST")) { session ->
 *     session.login("alice", roles = listOf("admin"))
 *     session.add("visits", 1)
 * }
 * reply.head.setCookies.forEach { response.addHeader("Set-Cookie", it) }
 * ```
 *
 * Whatever may wait for a disk or a network runs on [Dispatchers.IO], never on the caller's dispatcher.
 */
public class Coatroom private constructor(
    config: Config,
    private val store: Store?,
    private val remember: Remember?,
    clock: ManualClock?,
) : AutoCloseable {
    private val native: Native = native { Native(config, clock) }
    private val waits = native.waits()

    /** For the calls that go without JNA; null where none do. */
    private val number = if (store == null && HotCalls.areBound) native.number() else null

    /** Threads for those who wait for their turn, so that whoever has it finds one for its handler and the application's work. */
    private val waiters = Dispatchers.IO.limitedParallelism(WAITERS)

    /** Threads for those who have their turn, which those who wait for it in their commit cannot use up. */
    private val holders = Dispatchers.IO.limitedParallelism(HOLDERS)
    private val turns = ConcurrentHashMap<String, Boolean>()
    private val restores = ConcurrentHashMap<String, Boolean>()
    private val remembered = native.rememberCookie()?.let { "$it=" }

    /**
     * Over a store of this library: `memory`, `sqlite:PATH`, `file:PATH`, `redis://...` or `postgres://...`. With `announce`
     * the store also holds a feed of endings, for [Revocations].
     */
    public constructor(
        store: String,
        keys: Keys,
        policy: Policy = Policy(),
        remember: Remember? = null,
        announce: Boolean = false,
    ) : this(config(store, keys, policy, remember, announce), null, remember, null)

    /** Over a store of the application. */
    public constructor(store: Store, keys: Keys, policy: Policy = Policy(), remember: Remember? = null) :
        this(Config(null, keys.ring, store.entersWithSwap, policy.parts(), remember?.parts()), store, remember, null)

    internal constructor(
        store: String,
        keys: Keys,
        policy: Policy,
        clock: TestClock,
        remember: Remember? = null,
        announce: Boolean = false,
    ) : this(config(store, keys, policy, remember, announce), null, remember, clock.native)

    internal constructor(store: Store, keys: Keys, policy: Policy, clock: TestClock, remember: Remember? = null) :
        this(Config(null, keys.ring, store.entersWithSwap, policy.parts(), remember?.parts()), store, remember, clock.native)

    /** The names of the login and the visitor cookie. */
    public val cookieNames: Pair<String, String> = native.cookieNames().let { (login, visitor) -> login to visitor }

    /**
     * Runs a handler in the session of a request. When this returns, every write is acknowledged, and the head belongs into
     * the response. When the handler throws, nothing that it asked for is written. Once the commit has begun, cancellation waits
     * for its end.
     */
    public suspend fun <T> exchange(request: Request, handler: suspend (Session) -> T): Reply<T> {
        val session = open(request)
        try {
            val value = handler(session)
            return Reply(value, session.commit())
        } finally {
            session.abandon()
        }
    }

    /** Opens the session of a request, for adapters: then [Session.commit], and [Session.abandon] in any case. */
    public suspend fun open(request: Request): Session {
        currentCoroutineContext().ensureActive()
        val cookies = request.cookies?.toByteArray(Charsets.ISO_8859_1) ?: EMPTY
        val serial = turns.computeIfAbsent(request.method, native::takesTurns)
        val asker = asker()
        val begun = onIo(if (serial) waiters else Dispatchers.IO) {
            native { if (mayRestore(request)) beginRestoring(cookies) else begin(cookies, serial) }
        }
        try {
            val step = drive(begun.step, asker) { begun.half.exchange.answer(it) } as Step.Open
            val session = Session(this, begun.half, step.view, asker, serial)
            if (!currentCoroutineContext().isActive) session.abandon()
            currentCoroutineContext().ensureActive()
            return session
        } catch (error: Throwable) {
            begun.half.close()
            throw error
        }
    }

    private fun begin(cookies: ByteArray, serial: Boolean): Begun =
        if (number != null) ByJni.begin(number, cookies, serial)
        else native.begin(direct(cookies), serial).let { Begun(ByJna(it.exchange), it.step) }

    private fun beginRestoring(cookies: ByteArray): Begun =
        native.beginRestoring(direct(cookies)).let { Begun(ByJna(it.exchange), it.step) }

    /** The live sessions of a principal, the one used last first. */
    public suspend fun devices(principal: String): List<Device> = devices(principal, null)

    /** Ends one session of a principal, and says whether it was live. */
    public suspend fun revoke(principal: String, handle: String): Boolean =
        (call(Call.Revoke(principal, handle)) as Given.Ended).wasLive

    /** Ends all sessions of a principal, and refuses logins that are under way: after a change of the password. How many. */
    public suspend fun revokeAll(principal: String): Long = (call(Call.RevokeAll(principal, null)) as Given.Revoked).ended

    /** Ends every login there is, after an incident; how many. */
    public suspend fun revokeEverything(): Long = (call(Call.RevokeEverything) as Given.Count).count

    /** Gives a principal another name in all its sessions; in how many. */
    public suspend fun renamePrincipal(old: String, new: String): Long = (call(Call.Rename(old, new)) as Given.Count).count

    /** Removes about so many records that are garbage, from a store of this library; how many. */
    public suspend fun sweep(max: Int = 1000): Long = onIo { native { native.sweep(max.toUInt()) } }

    /** Makes or brings up to date what the store keeps records in. */
    public suspend fun migrate(): Unit = onIo { native { native.migrate() } }

    /** What an operator ought to know of the store as it is set up. */
    public suspend fun warnings(): List<String> = onIo { native { native.warnings() } }

    /** Lets go of the native half. Sessions that are open end as if they had been closed. */
    override fun close(): Unit = native.close()

    override fun toString(): String = "Coatroom"

    internal suspend fun devices(principal: String, mine: String?): List<Device> =
        (call(Call.Devices(principal)) as Given.Devices).devices.map { Device(it, it.handle == mine) }

    internal suspend fun call(call: Call): Given = withContext(NonCancellable) {
        val asker = asker()
        native { native.call(call) }.use { work ->
            val step = onIo { native { work.start() } }
            (drive(step, asker, work::answer) as Step.Given).given
        }
    }

    /** Goes from question to question until there is none. */
    internal suspend fun drive(first: Step, asker: Asker?, answer: (coatroom.border.Answer) -> Step): Step {
        var step = first
        while (step is Step.Ask) {
            val answered = checkNotNull(asker).ask(step.ask)
            step = onIo { native(asker.thrown) { answer(answered) } }
        }
        return step
    }

    private fun asker(): Asker? = if (store == null && remember == null) null else Asker(store, remember)

    /** Whether a remembered login may begin here: a quick look, the rest is judged by the core. */
    private fun mayRestore(request: Request): Boolean {
        val isIn = remembered != null && request.cookies?.contains(remembered) == true
        return isIn && restores.computeIfAbsent(request.method, native::restores)
    }

    internal suspend fun <T> commitOnIo(hasTurn: Boolean, commit: () -> T): T =
        onIo(if (hasTurn) holders else Dispatchers.IO, commit)

    /** What has begun runs to its end, so that nothing native is lost on the way back. A caller who is there already stays. */
    internal suspend fun <T> onIo(threads: CoroutineDispatcher = Dispatchers.IO, call: () -> T): T =
        if (!waits || currentCoroutineContext()[ContinuationInterceptor] === threads) call()
        else withContext(NonCancellable + threads) { call() }

    internal fun revocations(every: Duration?, clock: ManualClock?): NativeRevocations =
        native { NativeRevocations.of(native, every?.inWholeMilliseconds, clock) }

    private companion object {
        val EMPTY = ByteArray(0)
        const val HOLDERS = 16
        const val WAITERS = 64

        fun config(store: String, keys: Keys, policy: Policy, remember: Remember?, announce: Boolean) =
            Config(store, keys.ring, policy = policy.parts(), remember = remember?.parts(), announce = announce)
    }
}

/**
 * How logins are remembered beyond their session, for those who ask for it by [Session.remember].
 *
 * @property span how long after the login with a password; no use prolongs it
 * @property cookie name of its cookie, to which the prefix is added
 * @property rolesOf the roles that a principal has today, asked whenever a remembered login begins; null if there is no such
 *   user any more, or none that may log in
 */
public class Remember(
    public val span: Duration = 30.days,
    public val cookie: String = "remember",
    public val rolesOf: suspend (String) -> List<String>?,
) {
    internal fun parts() = RememberParts(span.inWholeMilliseconds, cookie)
}

/**
 * What a session needs to know of a request.
 *
 * @property cookies the Cookie header; several are joined by `; `
 */
public class Request(public val cookies: String?, public val method: String = "GET")

/** What a handler returned, and what goes into the response head. */
public class Reply<T>(public val value: T, public val head: ResponseHead)

/**
 * What goes into the response head. Every write is acknowledged.
 *
 * @property setCookies values of Set-Cookie headers, each a header of its own
 * @property vary the value that Vary must have; null where it may stay
 * @property cacheControl the value that Cache-Control must have; null where it may stay
 * @property trace what was done
 */
public class ResponseHead internal constructor(
    public val setCookies: List<String>,
    public val vary: String?,
    public val cacheControl: String?,
    public val trace: Trace,
)

/** A clock that stands still, for tests; with a seed, randomness repeats too. */
internal class TestClock(at: Instant, seed: ByteArray? = null) {
    val native: ManualClock = ManualClock(at.toEpochMilli(), seed)

    fun set(at: Instant) = native.set(at.toEpochMilli())
}
