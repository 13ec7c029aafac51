package coatroom

import coatroom.border.Noticed
import coatroom.border.Refusal

/**
 * Something was refused. The message says what happened and what to do; it never carries an id, a secret or a value.
 *
 * @property code stable, the same in every language
 * @property status the HTTP status to answer with
 */
public sealed class CoatroomException(
    public val code: String,
    public val status: Int,
    message: String,
    cause: Throwable?,
) : RuntimeException(message, cause) {
    /** What was noticed until then. */
    public var events: List<Event> = emptyList()
        internal set
}

/** The program is wrong: mend it. */
public sealed class MisuseException(code: String, message: String, cause: Throwable?) :
    CoatroomException(code, 500, message, cause)

/** The policy, the keys or the name of the store is wrong. */
public class ConfigException internal constructor(code: String, message: String, cause: Throwable? = null) :
    MisuseException(code, message, cause)

/** A value is not one that a session can hold, or is read as another type than it was written. */
public class ValueException internal constructor(code: String, message: String, cause: Throwable? = null) :
    MisuseException(code, message, cause)

/** The session of another request, or of one that is over: use the session of the present request. */
public class SessionClosedException internal constructor(code: String, message: String, cause: Throwable? = null) :
    MisuseException(code, message, cause)

/** Another mistake in a call. */
public class BadCallException internal constructor(code: String, message: String, cause: Throwable? = null) :
    MisuseException(code, message, cause)

/** The commit was refused and nothing was written: the client may ask again with what it holds then. Status 409. */
public sealed class RefusedException(code: String, message: String, cause: Throwable?) :
    CoatroomException(code, 409, message, cause)

/** Another request changed the session in between: read it again and repeat the request. */
public class ConflictException internal constructor(code: String, message: String, cause: Throwable? = null) :
    RefusedException(code, message, cause)

/** The session ended while the request was under way: log in again. */
public class SessionEndedException internal constructor(code: String, message: String, cause: Throwable? = null) :
    RefusedException(code, message, cause)

/** The id was replaced while the request was under way: repeat it with the present cookie. */
public class SupersededException internal constructor(code: String, message: String, cause: Throwable? = null) :
    RefusedException(code, message, cause)

/** The record would grow over the limit of the policy: store less, or raise `size`. */
public class TooLargeException internal constructor(code: String, message: String, cause: Throwable? = null) :
    RefusedException(code, message, cause)

/** Another refusal; [code] says which. */
public class OtherRefusedException internal constructor(code: String, message: String, cause: Throwable? = null) :
    RefusedException(code, message, cause)

/** Nothing is known to be written; the same request may succeed after a pause. Status 503. */
public sealed class UnavailableException(code: String, message: String, cause: Throwable?) :
    CoatroomException(code, 503, message, cause)

/** The store does not answer. */
public class StoreUnavailableException internal constructor(code: String, message: String, cause: Throwable? = null) :
    UnavailableException(code, message, cause)

/** Others kept changing the session for too long. */
public class BusyException internal constructor(code: String, message: String, cause: Throwable? = null) :
    UnavailableException(code, message, cause)

/** It is not known whether the write took place: read the session before repeating it. */
public class UnknownOutcomeException internal constructor(code: String, message: String, cause: Throwable? = null) :
    UnavailableException(code, message, cause)

/** Somebody has to log in, again or more strongly: [code] is `unauthenticated`, `not-fresh` or `level-too-low`. Status 401. */
public class UnauthenticatedException internal constructor(code: String, message: String, cause: Throwable? = null) :
    CoatroomException(code, 401, message, cause)

/** Whoever is logged in has not this right. Status 403. */
public class ForbiddenException internal constructor(code: String, message: String, cause: Throwable? = null) :
    CoatroomException(code, 403, message, cause)

/** There is no access token for a login that is not stored yet: ask with the next request. Or its names are too long for one. */
public class NotIssuedException internal constructor(status: Int, message: String, cause: Throwable? = null) :
    CoatroomException("not-issued", status, message, cause)

/**
 * An access token does not count: ask for a new one. Status 401.
 *
 * @property reason why, for logs, and nothing of the token; the same in every language
 */
public sealed class TokenRefusedException(public val reason: String, message: String) :
    CoatroomException("token", 401, message, null) {
    /** The value of `WWW-Authenticate` (RFC 6750 section 3). */
    public val challenge: String get() = if (this is TokenMissingException) "Bearer" else "Bearer error=\"invalid_token\""
}

/** The request carries no access token. */
public class TokenMissingException internal constructor() :
    TokenRefusedException("missing", "the request carries no access token: send it as `Authorization: Bearer`")

/** Its time is over: its session gets a new one. */
public class TokenExpiredException internal constructor(message: String) : TokenRefusedException("expired", message)

/** Its session has ended, or all of its principal were revoked. */
public class TokenRevokedException internal constructor(message: String) : TokenRefusedException("revoked", message)

/** It names no key of this verifier: fetch the issuer's key set again, at most once a minute. */
public class UnknownTokenKeyException internal constructor(message: String) : TokenRefusedException("unknown key", message)

/** Anything else; [reason] says what. */
public class BadTokenException internal constructor(reason: String, message: String) :
    TokenRefusedException(reason, message)

/** The verifier has not heard for too long which sessions have ended, so no access token counts. Status 503. */
public class EndingsUnknownException internal constructor(message: String) :
    UnavailableException("stale", message, null)

/**
 * Something that happened to a session, or was refused.
 *
 * @property name stable, for logs and figures
 * @property handle the session concerned
 * @property cause why it ended, if it did
 */
public data class Event(public val name: String, public val handle: String?, public val cause: String?)

internal fun events(noticed: List<Noticed>): List<Event> = noticed.map { Event(it.name, it.handle, it.cause) }

internal fun Refusal.toException(cause: Throwable? = null): CoatroomException {
    this as Refusal.Refused
    return exceptionOf(code, status, reason, cause).also { it.events = events(events) }
}

/** What a verifier says of a token that does not count: 503 when it is not the token that is wrong. */
internal fun tokenRefused(reason: String, message: String, status: Int): CoatroomException = when {
    status == UNAVAILABLE -> EndingsUnknownException(message)
    reason == "expired" -> TokenExpiredException(message)
    reason == "revoked" -> TokenRevokedException(message)
    reason == "unknown key" -> UnknownTokenKeyException(message)
    else -> BadTokenException(reason, message)
}

private const val UNAVAILABLE = 503

private fun exceptionOf(code: String, status: Int, reason: String, cause: Throwable?): CoatroomException = when (code) {
    "config" -> ConfigException(code, reason, cause)
    "value" -> ValueException(code, reason, cause)
    "wrong-stage" -> SessionClosedException(code, reason, cause)
    "conflict" -> ConflictException(code, reason, cause)
    "ended", "revoked" -> SessionEndedException(code, reason, cause)
    "superseded" -> SupersededException(code, reason, cause)
    "too-large" -> TooLargeException(code, reason, cause)
    "unavailable" -> StoreUnavailableException(code, reason, cause)
    "busy" -> BusyException(code, reason, cause)
    "unknown" -> UnknownOutcomeException(code, reason, cause)
    "not-issued" -> NotIssuedException(status, reason, cause)
    else -> when (status) {
        401 -> UnauthenticatedException(code, reason, cause)
        403 -> ForbiddenException(code, reason, cause)
        409 -> OtherRefusedException(code, reason, cause)
        503 -> StoreUnavailableException(code, reason, cause)
        else -> BadCallException(code, reason, cause)
    }
}

/** Runs a call of the native half; what it refuses becomes ours. */
internal inline fun <T> native(cause: Throwable? = null, call: () -> T): T =
    try {
        call()
    } catch (refusal: Refusal) {
        throw refusal.toException(cause)
    }
