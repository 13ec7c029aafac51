package coatroom

import coatroom.border.ClaimParts
import coatroom.border.Issued
import coatroom.border.Judging
import coatroom.border.ManualClock
import coatroom.border.TokenKeys
import coatroom.border.keygen
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext
import java.time.Instant
import java.util.Base64
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds
import coatroom.border.Issuer as NativeIssuer
import coatroom.border.Revocations as NativeRevocations
import coatroom.border.Verifier as NativeVerifier

/**
 * Makes access tokens from logins, for one audience: JWTs of five minutes that tell services without the session store who
 * calls them. Share one between all requests.
 *
 * ```
 * val issuer = Issuer("https://shop.example", "orders", System.getenv("TOKEN_KEYS"))
 * val token = issuer.issue(session)
 * ```
 *
 * `keys` is a list `name:EdDSA:base64url,...` of 32 random bytes each, parted by commas or line ends; the first one signs and
 * all of them are published. [newKey] makes an entry. To change keys without refusing a live token: put the new one last
 * everywhere, then first, and remove the old one after a token's lifetime. With `HS256` in place of `EdDSA` verifiers hold the
 * same secret, and can make tokens too.
 *
 * A token lives for `lifetime`, from one second to an hour, and never longer than its session. Verifiers have to be told of
 * another lifetime than five minutes. [ConfigException] names the position of a key that is none.
 */
public class Issuer(issuer: String, audience: String, keys: String, lifetime: Duration = LIFETIME) {
    private val native = native { NativeIssuer(issuer, audience, keys, lifetime.inWholeMilliseconds) }

    /** The public keys as a JSON Web Key Set, for anybody to keep for [KEYS_LAST]; empty for `HS256`, whose keys are secret. */
    public val jwks: String get() = native.jwks()

    /** How it signs. */
    public val algorithm: Algorithm get() = Algorithm.of(native.algorithm())

    /**
     * A token for the login that this request came with. Asks no store. [UnauthenticatedException] when nobody is logged in or
     * the session is over; [NotIssuedException] in the request that logs in, whose login is not stored yet.
     */
    // spec: TOKEN-1 6e31, TOKEN-2 9702, TOKEN-3 c1a8
    public fun issue(session: Session): Token = Token(session.exchanging { native { native.issue(it) } })

    override fun toString(): String = "Issuer($algorithm)"

    public companion object {
        /** Where adapters answer with a token. */
        public const val TOKEN_PATH: String = "/token"

        /** Where adapters answer with the public keys. */
        public const val KEYS_PATH: String = "/.well-known/jwks.json"

        /** For how long anybody may keep the key set. A new key is to be published for longer before it signs. */
        public val KEYS_LAST: Duration = 5.minutes

        /** A fresh entry for `keys`. Names are of letters, digits, `-`, `_` and `.`; a month is a good one. */
        public fun newKey(name: String, algorithm: Algorithm = Algorithm.EDDSA): String =
            "$name:${algorithm.word}:" + Base64.getUrlEncoder().withoutPadding().encodeToString(native { keygen() })
    }
}

/** How tokens are signed. */
public enum class Algorithm(internal val word: String) {
    /** Ed25519: verifiers hold public keys alone. */
    EDDSA("EdDSA"),

    /** HMAC with SHA-256: whoever verifies can issue. */
    HS256("HS256"),
    ;

    internal companion object {
        fun of(word: String) = entries.first { it.word == word }
    }
}

/**
 * A token for a client, who sends it as `Authorization: Bearer TEXT`. Printing this does not print it.
 *
 * @property text the token itself: three parts of base64url, at most 4,096 bytes
 * @property expiresAt when it expires; whole seconds
 * @property lifetime for how long it lives, from the moment at which its session was opened
 */
public class Token internal constructor(parts: Issued) {
    public val text: String = parts.text
    public val expiresAt: Instant = Instant.ofEpochMilli(parts.expiresAtMs)
    public val lifetime: Duration = parts.lifetimeMs.milliseconds

    /** The answer to `POST /token`, in the form of RFC 6749 section 5.1; `Cache-Control: no-store` goes with it. */
    public fun toJson(): String =
        """{"access_token": "$text", "token_type": "Bearer", "expires_in": ${lifetime.inWholeSeconds}}"""

    override fun toString(): String = "Token(until $expiresAt)"
}

/** What a verifier checks signatures with, and so under which algorithm. */
public class VerifierKeys private constructor(internal val parts: TokenKeys) {
    override fun toString(): String = "VerifierKeys"

    public companion object {
        /** The issuer's key set, from a place that you chose. */
        public fun public(jwks: String): VerifierKeys = VerifierKeys(TokenKeys.Public(jwks.toByteArray()))

        /** The issuer's own entries, where those are `HS256`. Private keys of another kind are refused here. */
        public fun shared(keys: String): VerifierKeys = VerifierKeys(TokenKeys.Shared(keys))
    }
}

/**
 * Judges tokens of one issuer for one audience, without asking anybody. Share one between all requests.
 *
 * With `revocations` it refuses tokens of ended sessions: of all that had ended `within` ago, at the latest. When it could not
 * hear for longer than that, `late` decides: refuse all tokens ([EndingsUnknownException], 503), or accept and say so in
 * [Claims.heard]. `lifetime` is that of the issuer, `leeway` (a minute at most) is how far clocks may differ.
 */
public class Verifier internal constructor(
    issuer: String,
    audience: String,
    keys: VerifierKeys,
    lifetime: Duration,
    leeway: Duration,
    // Held: what nobody holds pulls no more.
    private val revocations: Revocations?,
    within: Duration,
    late: Late,
    clock: ManualClock?,
) {
    public constructor(
        issuer: String,
        audience: String,
        keys: VerifierKeys,
        lifetime: Duration = LIFETIME,
        leeway: Duration = 5.seconds,
        revocations: Revocations? = null,
        within: Duration = 10.seconds,
        late: Late = Late.REFUSE,
    ) : this(issuer, audience, keys, lifetime, leeway, revocations, within, late, null)

    @Volatile
    private var native: NativeVerifier = native {
        val spans = lifetime.inWholeMilliseconds to leeway.inWholeMilliseconds
        val made = NativeVerifier(issuer, audience, keys.parts, spans.first, spans.second, clock)
        val heeds = revocations?.native ?: return@native made
        made.use { it.withRevocations(heeds, within.inWholeMilliseconds, late == Late.ACCEPT) }
    }

    /**
     * What a token states, if it counts now. [TokenRefusedException] or one of its subclasses otherwise, and
     * [EndingsUnknownException]. No text makes it fail in another way, or holds it up.
     */
    // spec: TOKEN-4 0830, TOKEN-10 2a12, TOKEN-11 f067, TOKEN-12 c154
    public fun verify(token: String): Claims = verify(token.toByteArray())

    /** The same of bytes as they came. */
    public fun verify(token: ByteArray): Claims =
        when (val judged = native.verify(direct(token))) {
            is Judging.Valid -> Claims(judged.claims)
            is Judging.Refused -> throw tokenRefused(judged.reason, judged.message, judged.status.toInt())
        }

    /** As [verify], of the value of an Authorization header; [TokenMissingException] if there is none of the scheme Bearer. */
    public fun bearer(authorization: String?): Claims {
        val (scheme, token) = authorization.orEmpty().let { it.substringBefore(' ') to it.substringAfter(' ', "") }
        if (!scheme.equals("bearer", ignoreCase = true)) throw TokenMissingException()
        return verify(token.trim(' '))
    }

    /** Takes other keys from now on, such as a key set that was fetched again. Nothing changes if those are none. */
    public fun setKeys(keys: VerifierKeys) {
        native = native { native.withKeys(keys.parts) }
    }

    override fun toString(): String = "Verifier"
}

/** What a verifier does while it has not heard for too long what has ended. */
public enum class Late {
    /** It refuses all tokens. */
    REFUSE,

    /** It accepts them and says so in [Claims.heard]. */
    ACCEPT,
}

/**
 * What a valid token says of a login, as it was when the token was issued.
 *
 * @property principal who is logged in (`sub`)
 * @property handle the session's public name (`sid`), never a credential
 * @property roles of the principal
 * @property level level of authentication, as the application counts it
 * @property issuedAt when the token was issued (`iat`)
 * @property expiresAt when it expires (`exp`)
 * @property tokenId the token's own name (`jti`)
 * @property heard whether the verifier knew what had ended
 */
public class Claims internal constructor(parts: ClaimParts) {
    public val principal: String = parts.principal
    public val handle: String = parts.handle
    public val roles: Set<String> = parts.roles.toSet()
    public val level: Int = parts.level.toInt()
    public val issuedAt: Instant = Instant.ofEpochMilli(parts.issuedAtMs)
    public val expiresAt: Instant = Instant.ofEpochMilli(parts.expiresAtMs)
    public val tokenId: String = parts.tokenId
    public val heard: Heard = Heard.valueOf(parts.heard.uppercase().replace(' ', '_'))

    /** Refuses unless the principal has this role. */
    // spec: LOGIN-9 c39d
    public fun requireRole(role: String) {
        if (role !in roles) throw ForbiddenException("forbidden", "the principal does not have this role")
    }

    override fun toString(): String = "Claims($principal)"
}

/** Whether a verifier knew what had ended. */
public enum class Heard {
    /** It has no [Revocations]. */
    NEVER,

    /** Everything up to its bound. */
    IN_TIME,

    /** Not for longer than its bound; only where it was told to accept that. */
    TOO_LONG_AGO,
}

/**
 * What has ended, as far as this process has heard: fed by `Coatroom(..., announce = true)`, through their store. A thread of
 * its own asks the store every so often for what is new, for the first time before this is made; with null, only [pull] does.
 * A store that is away then is asked again; one that can push (Redis, PostgreSQL) also as soon as there is something, which nobody
 * should count on. It keeps 16 bytes for each login that ended in the last hour. One can serve several
 * verifiers. [ConfigException] for a store without a feed: `cookie` alone, and stores of your own.
 */
public class Revocations private constructor(internal val native: NativeRevocations) : AutoCloseable {
    /** From a store by its address. */
    public constructor(store: String, every: Duration? = EVERY) :
        this(native { NativeRevocations(store, every?.inWholeMilliseconds) })

    /** From the store of sessions. */
    public constructor(coatroom: Coatroom, every: Duration? = EVERY) : this(coatroom.revocations(every, null))

    internal constructor(store: String, clock: TestClock) : this(native { NativeRevocations(store, null, clock.native) })

    internal constructor(coatroom: Coatroom, clock: TestClock) : this(coatroom.revocations(null, clock.native))

    /** Up to when everything was heard; null before the first time. */
    public val upToDate: Instant? get() = native.upToDateMs()?.let(Instant::ofEpochMilli)

    /** How many ended sessions are known. */
    public val size: Long get() = native.count()

    /** Fetches what is new; how many endings that were. [StoreUnavailableException] when the store does not answer: what came
     * until then is known. */
    // spec: TOKEN-13 0b79
    public suspend fun pull(): Long = withContext(Dispatchers.IO) { native { native.pull() } }

    /** Nothing is heard any more: what heeds this refuses every token, once its bound is over. */
    override fun close(): Unit = native.close()

    override fun toString(): String = "Revocations"
}

private val LIFETIME = 5.minutes
private val EVERY = 2.seconds
