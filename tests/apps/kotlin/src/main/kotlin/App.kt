import coatroom.Coatroom
import coatroom.ConfigException
import coatroom.Rotation
import coatroom.Session
import coatroom.ktor.Sessions
import coatroom.ktor.session
import io.ktor.http.ContentType
import io.ktor.http.HttpStatusCode
import io.ktor.server.application.Application
import io.ktor.server.application.ApplicationCall
import io.ktor.server.application.install
import io.ktor.server.engine.connector
import io.ktor.server.engine.embeddedServer
import io.ktor.server.netty.Netty
import io.ktor.server.response.respondText
import io.ktor.server.routing.Route
import io.ktor.server.routing.RoutingContext
import io.ktor.server.routing.get
import io.ktor.server.routing.post
import io.ktor.server.routing.route
import io.ktor.server.routing.routing
import io.netty.channel.socket.nio.NioChannelOption
import kotlinx.coroutines.delay
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import java.net.StandardSocketOptions
import kotlin.system.exitProcess

private const val LONGEST_PAUSE_MS = 60_000L

/** The request lacks a parameter, or has one that means nothing. */
class BadParameter(message: String) : Exception(message)

fun main(arguments: Array<String>) {
    val options = Options(arguments)
    val coatroom = if (options.store == "none") null else coatroom(options)
    val configure: io.ktor.server.netty.NettyApplicationEngine.Configuration.() -> Unit = {
        connector {
            host = "127.0.0.1"
            port = options.port
        }
        // `run` starts several workers, which share the port.
        configureBootstrap = { option(NioChannelOption.of(StandardSocketOptions.SO_REUSEPORT), options.workers > 1) }
    }
    embeddedServer(Netty, configure = configure) { contract(coatroom) }.start(wait = true)
}

private fun coatroom(options: Options): Coatroom =
    try {
        Coatroom(options.store, options.keys(), options.policy()).also { runBlocking { it.migrate() } }
    } catch (wrong: ConfigException) {
        System.err.println("run kotlin: ${wrong.message}")
        exitProcess(1)
    }

private fun Application.contract(coatroom: Coatroom?) = routing {
    route("/") {
        if (coatroom == null) {
            get("me") { call.reply("user" to JsonNull, "views" to JsonPrimitive(0), "keys" to JsonObject(emptyMap())) }
            post("incr") { call.reply("views" to JsonPrimitive(1)) }
        } else {
            install(Sessions) { this.coatroom = coatroom }
            sessions()
        }
    }
}

private fun Route.sessions() {
    get("me") {
        answer { session ->
            pause()
            val keys = session.keys.filter { it != "views" }.associateWith { json(session.value(it)) }
            val views = json(session.value("views") ?: 0L)
            listOf("user" to json(session.principal?.name), "views" to views, "keys" to JsonObject(keys))
        }
    }
    post("login") { answer { session -> ok { session.login(text("user")) } } }
    post("logout") { answer { session -> ok { session.logout() } } }
    post("incr") {
        answer { session ->
            val views = (session.get<Long>("views") ?: 0) + 1
            pause()
            session.set("views", views)
            listOf("views" to JsonPrimitive(views))
        }
    }
    post("add") {
        answer { session ->
            pause()
            listOf("views" to JsonPrimitive(session.add("views", 1)))
        }
    }
    post("set") {
        answer { session ->
            val key = text("k").also { if (it == "views") throw BadParameter("the key views belongs to /incr and /add") }
            pause()
            ok { session.set(key, call.parameters["v"].orEmpty()) }
        }
    }
    post("rotate") { answer { session -> listOf("rotated" to JsonPrimitive(session.rotate() == Rotation.ROTATED)) } }
    get("sessions") {
        answer { session ->
            val devices = session.devices().map { device ->
                JsonObject(mapOf("handle" to JsonPrimitive(device.handle), "this" to JsonPrimitive(device.isThis)))
            }
            listOf("sessions" to JsonArray(devices))
        }
    }
    post("logout-others") { answer { session -> listOf("ended" to JsonPrimitive(session.revokeOthers())) } }
    post("logout-all") {
        answer { session ->
            val ended = session.revokeAll()
            session.logout()
            listOf("ended" to JsonPrimitive(ended))
        }
    }
}

private suspend fun RoutingContext.answer(handler: suspend RoutingContext.(Session) -> List<Pair<String, JsonElement>>) =
    try {
        call.reply(*handler(call.session).toTypedArray())
    } catch (bad: BadParameter) {
        call.session.discard()
        call.reply("error" to JsonPrimitive(bad.message), status = HttpStatusCode.BadRequest)
    }

private suspend fun RoutingContext.pause() {
    val given = call.parameters["ms"] ?: "0"
    val ms = given.takeIf { it.isNotEmpty() && it.all { digit -> digit in '0'..'9' } }?.toLongOrNull()
    if (ms == null || ms > LONGEST_PAUSE_MS) throw BadParameter("ms must be a whole number from 0 to $LONGEST_PAUSE_MS")
    if (ms > 0) delay(ms)
}

private fun RoutingContext.text(name: String): String =
    call.parameters[name]?.ifEmpty { null } ?: throw BadParameter("the parameter $name is missing")

private fun ok(work: () -> Unit): List<Pair<String, JsonElement>> = listOf("ok" to JsonPrimitive(true)).also { work() }

private suspend fun ApplicationCall.reply(
    vararg fields: Pair<String, JsonElement>,
    status: HttpStatusCode = HttpStatusCode.OK,
) = respondText(JsonObject(mapOf(*fields)).toString(), ContentType.Application.Json, status)

private fun json(value: Any?): JsonElement = when (value) {
    null -> JsonNull
    is Boolean -> JsonPrimitive(value)
    is Number -> JsonPrimitive(value)
    is List<*> -> JsonArray(value.map(::json))
    is Map<*, *> -> JsonObject(value.entries.associate { (key, held) -> "$key" to json(held) })
    else -> JsonPrimitive("$value")
}
