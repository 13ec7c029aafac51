package coatroom.ktor

import coatroom.Coatroom
import coatroom.CoatroomException
import coatroom.Request
import coatroom.ResponseHead
import coatroom.Session
import coatroom.TokenRefusedException
import coatroom.UnavailableException
import io.ktor.http.ContentType
import io.ktor.http.HttpHeaders
import io.ktor.http.HttpStatusCode
import io.ktor.http.content.OutgoingContent
import io.ktor.http.content.TextContent
import io.ktor.server.application.ApplicationCall
import io.ktor.server.application.ApplicationCallPipeline
import io.ktor.server.application.Hook
import io.ktor.server.application.RouteScopedPlugin
import io.ktor.server.application.call
import io.ktor.server.application.createRouteScopedPlugin
import io.ktor.server.application.log
import io.ktor.server.request.httpMethod
import io.ktor.server.response.ApplicationSendPipeline
import io.ktor.server.response.header
import io.ktor.server.response.respond
import io.ktor.util.AttributeKey

private const val FIRST_SERVER_ERROR = 500
private const val RETRY_AFTER_SECONDS = 1

private val SESSION = AttributeKey<Session>("Coatroom session")

/** The session of this call. */
public val ApplicationCall.session: Session
    get() = attributes.getOrNull(SESSION) ?: error("no session: install(Sessions) { coatroom = ... } around this route")

/** What [Sessions] needs. */
public class SessionsConfig {
    /** The sessions of the application. Whoever made it closes it. */
    public var coatroom: Coatroom? = null

    /** What a call is answered with whose session was refused. The status is [CoatroomException.status]. */
    public var refusal: (CoatroomException) -> OutgoingContent = ::inText
}

/**
 * Gives every call below it a [session], and commits it before the head of the response goes out: no cookie is set that
 * the store has not acknowledged, and a commit that is refused replaces the response. A response of status 500 and above
 * acknowledges nothing, so nothing is written then.
 *
 * ```
 * install(Sessions) { coatroom = Coatroom("sqlite:sessions.db", Keys.fromEnvironment()) }
 * routing { get("/") { call.respondText("visit ${call.session.add("visits", 1)}") } }
 * ```
 */
public val Sessions: RouteScopedPlugin<SessionsConfig> = createRouteScopedPlugin("Coatroom", ::SessionsConfig) {
    val coatroom = requireNotNull(pluginConfig.coatroom) { "set `coatroom` in install(Sessions) { ... }" }
    val refusal = pluginConfig.refusal

    on(Around) { call, proceed ->
        try {
            val session = coatroom.open(call.asRequest())
            try {
                call.attributes.put(SESSION, session)
                proceed()
                // What nobody answered is a 404, which commits like any status below 500.
                if (session.isOpen) call.setHead(session.commit())
            } finally {
                session.abandon()
            }
        } catch (refused: CoatroomException) {
            if (call.response.isCommitted) throw refused
            call.setHead(refused)
            call.respond(refusal(refused))
        }
    }
    on(BeforeHead) { call, content ->
        val session = call.attributes.getOrNull(SESSION)?.takeIf(Session::isOpen)
        val status = content.status ?: call.response.status() ?: HttpStatusCode.OK
        val fails = status.value >= FIRST_SERVER_ERROR
        try {
            if (fails) session?.discard()
            session?.commit()?.let(call::setHead)
            null
        } catch (refused: CoatroomException) {
            call.application.log.debug("the session of this call was not written", refused)
            if (fails) null else refusal(refused).also { call.setHead(refused) }
        }
    }
}

internal fun inText(refused: CoatroomException): OutgoingContent =
    TextContent(refused.message.orEmpty(), ContentType.Text.Plain, HttpStatusCode.fromValue(refused.status))

private fun ApplicationCall.asRequest() =
    Request(request.headers.getAll(HttpHeaders.Cookie)?.joinToString("; "), request.httpMethod.value)

/** Lists go on in another line (RFC 9110 section 5.3), so what the response has already stays. */
private fun ApplicationCall.setHead(head: ResponseHead) {
    head.setCookies.forEach { response.header(HttpHeaders.SetCookie, it) }
    head.vary?.let { response.header(HttpHeaders.Vary, it) }
    head.cacheControl?.let { response.header(HttpHeaders.CacheControl, it) }
}

// spec: HTTP-3 779a
internal fun ApplicationCall.setHead(refused: CoatroomException) {
    response.header(HttpHeaders.CacheControl, "no-store")
    if (refused is UnavailableException) response.header(HttpHeaders.RetryAfter, RETRY_AFTER_SECONDS)
    if (refused is TokenRefusedException) response.header(HttpHeaders.WWWAuthenticate, refused.challenge)
}

private object Around : Hook<suspend (ApplicationCall, suspend () -> Unit) -> Unit> {
    override fun install(
        pipeline: ApplicationCallPipeline,
        handler: suspend (ApplicationCall, suspend () -> Unit) -> Unit,
    ) = pipeline.intercept(ApplicationCallPipeline.Plugins) { handler(call) { proceed() } }
}

/** Once the response is rendered; what the handler returns takes its place. */
private object BeforeHead : Hook<suspend (ApplicationCall, OutgoingContent) -> OutgoingContent?> {
    override fun install(
        pipeline: ApplicationCallPipeline,
        handler: suspend (ApplicationCall, OutgoingContent) -> OutgoingContent?,
    ) = pipeline.sendPipeline.intercept(ApplicationSendPipeline.ContentEncoding) { content ->
        val instead = (content as? OutgoingContent)?.let { handler(call, it) }
        if (instead != null) proceedWith(instead)
    }
}
