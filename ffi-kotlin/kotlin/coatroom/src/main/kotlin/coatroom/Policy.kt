package coatroom

import java.nio.file.Files
import java.nio.file.Path
import java.util.Base64
import kotlin.time.Duration
import coatroom.border.Policy as PolicyParts
import coatroom.border.keygen

/**
 * Every limit and choice. What is not given keeps its default; [Duration.INFINITE] switches `idle`, `activation` and
 * `rotateEvery` off. Contradictions are refused when a [Coatroom] is made. See LIFECYCLE in the documentation for the defaults.
 */
public data class Policy(
    public val preset: Preset? = null,
    public val idle: Duration? = null,
    public val touch: Duration? = null,
    public val absolute: Duration? = null,
    public val activation: Duration? = null,
    public val skew: Duration? = null,
    public val rotateEvery: Duration? = null,
    public val grace: Duration? = null,
    public val lease: Duration? = null,
    public val tombstone: Duration? = null,
    public val size: Int? = null,
    public val sealed: Boolean = false,
    public val carry: Carry = Carry.All,
    public val reuse: Reuse = Reuse.DESTROY,
    public val concurrency: Concurrency = Concurrency.MERGE,
    public val limit: Limit? = null,
    public val cookies: Cookies = Cookies(),
) {
    internal fun parts(): PolicyParts = PolicyParts(
        preset = preset?.name?.lowercase(),
        idle = orOff(idle),
        touch = touch?.inWholeMilliseconds,
        absolute = absolute?.inWholeMilliseconds,
        activation = orOff(activation),
        skew = skew?.inWholeMilliseconds,
        rotateEvery = orOff(rotateEvery),
        grace = grace?.inWholeMilliseconds,
        lease = lease?.inWholeMilliseconds,
        tombstone = tombstone?.inWholeMilliseconds,
        size = size?.toLong(),
        sealed = sealed,
        carry = carry.word,
        carryKeys = (carry as? Carry.Keys)?.keys.orEmpty(),
        reuse = reuse.word,
        concurrency = concurrency.name.lowercase(),
        limit = limit?.sessions?.toUInt(),
        beyond = limit?.beyond?.word,
        loginCookie = cookies.login,
        visitorCookie = cookies.visitor,
        path = cookies.path,
        domain = cookies.domain,
        sameSite = cookies.sameSite.name.lowercase(),
        maxAge = cookies.maxAge?.inWholeMilliseconds,
        dangerPlainHttp = cookies.dangerPlainHttp,
    )
}

private fun orOff(span: Duration?): Long? = if (span == Duration.INFINITE) 0 else span?.inWholeMilliseconds

/** The levels of NIST SP 800-63B-4, with their limits on sessions. */
public enum class Preset { AAL1, AAL2, AAL3 }

/** What anonymous data survives a login. */
public sealed class Carry(internal val word: String) {
    /** All of it. */
    public object All : Carry("all")

    /** None of it. */
    public object Nothing : Carry("none")

    /** What is under these keys. */
    public data class Keys(public val keys: List<String>) : Carry("keys")
}

/** What the reuse of a replaced id leads to. */
public enum class Reuse(internal val word: String) {
    /** The session ends: thief and owner both have to log in again. */
    DESTROY("destroy"),

    /** All sessions of the principal end. */
    REVOKE_ALL("revoke-all"),

    /** It is refused, and whoever copied an id keeps what the copy gave them. */
    DANGER_REFUSE_ONLY("danger-refuse-only"),
}

/** How exchanges that overlap are brought together. */
public enum class Concurrency {
    /** Changes of different keys all survive, `add` sums, the last write of a key wins. */
    MERGE,

    /** A commit is refused if a key that the exchange read or set was changed by another meanwhile. */
    STRICT,

    /** One at a time, for requests with an unsafe method. */
    SERIAL,
}

/** How many sessions one principal may have at a time, and what gives way beyond. */
public data class Limit(public val sessions: Int, public val beyond: Beyond)

/** What gives way to one more login. */
public enum class Beyond(internal val word: String) {
    /** The new login. */
    REFUSE("refuse"),

    /** The session that was created first. */
    EVICT_OLDEST("evict-oldest"),

    /** The session that was not used for longest. */
    EVICT_IDLEST("evict-idlest"),
}

/** When a browser sends a cookie along with a request from another site. */
public enum class SameSite { LAX, STRICT, NONE }

/**
 * Names and attributes of the two cookies.
 *
 * @property dangerPlainHttp cookies without `Secure`, for development: anybody on the network path can read such a session
 */
public data class Cookies(
    public val login: String? = null,
    public val visitor: String? = null,
    public val path: String? = null,
    public val domain: String? = null,
    public val sameSite: SameSite = SameSite.LAX,
    public val maxAge: Duration? = null,
    public val dangerPlainHttp: Boolean = false,
)

/** The key ring: `number:base64url`, by commas or lines. The first signs, all verify. */
public class Keys(internal val ring: String) {
    override fun toString(): String = "Keys"

    public companion object {
        /** The ring in `COATROOM_KEYS`, or in the file that `COATROOM_KEYS_FILE` names. */
        public fun fromEnvironment(): Keys {
            System.getenv("COATROOM_KEYS")?.let { return Keys(it) }
            val file = System.getenv("COATROOM_KEYS_FILE")
                ?: throw ConfigException("config", "no keys: set COATROOM_KEYS or COATROOM_KEYS_FILE, or give a ring")
            return Keys(Files.readString(Path.of(file)).trim())
        }

        /** A ring of one fresh key, to be kept somewhere safe: sessions last no longer than their keys. */
        public fun generate(number: Int = 1): Keys {
            val key = native { keygen() }
            return Keys("$number:" + Base64.getUrlEncoder().withoutPadding().encodeToString(key))
        }
    }
}
