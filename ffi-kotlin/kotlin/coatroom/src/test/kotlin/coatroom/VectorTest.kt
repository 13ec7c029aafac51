package coatroom

import coatroom.border.Answer
import coatroom.border.Ask
import coatroom.border.Config
import coatroom.border.EntryParts
import coatroom.border.Exchange
import coatroom.border.Head
import coatroom.border.ListingParts
import coatroom.border.ManualClock
import coatroom.border.Refusal
import coatroom.border.Step
import coatroom.border.View
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.boolean
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.long
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.CsvSource
import java.nio.file.Files
import java.nio.file.Path
import java.util.Base64
import java.util.HexFormat
import coatroom.border.Coatroom as Native
import coatroom.border.Policy as PolicyParts

/** The vectors that every language plays: `spec/vectors/exchange/README.md` has their format. */
internal class VectorTest {
    private val folder = Path.of("../../../spec/vectors/exchange")

    private fun read(name: String) = Files.readString(folder.resolve(name))

    @Test
    fun `every case plays as it is written, and the index counts every file`() {
        val index = Taken(Json.parseToJsonElement(read("index.json")))
        val (all, files) = index["cases"].jsonPrimitive.int to index["files"].jsonObject
        index.end()
        val present = Files.list(folder).use { found -> found.map { "${it.fileName}" }.filter { it.endsWith(".json") }.toList() }
        assertEquals(files.keys + "index.json", present.toSet())
        files.forEach { (name, count) -> assertEquals(count.jsonPrimitive.int, play(read(name)), name) }
        assertEquals(all, files.values.sumOf { it.jsonPrimitive.int })
        println("vectors: $all cases")
    }

    @ParameterizedTest
    @CsvSource(
        quoteCharacter = '\'',
        value = [
            "'\"durable\":true', '\"durable\":false'", "SameSite=Lax, SameSite=lax",
            "'\"call\": \"saved\"', '\"call\": \"kept\"'", "'\"now\":', '\"extra\":1,\"now\":'",
        ],
    )
    fun `a difference is noticed`(old: String, new: String) {
        val text = read("visitors.json")
        assertThrows(AssertionError::class.java) { play(text.replaceFirst(old, new).also { check(it != text) }) }
    }
}

/** Plays the text of a file; how many cases it has. */
private fun play(text: String): Int {
    val file = Taken(Json.parseToJsonElement(text))
    val cases = file["cases"].jsonArray
    file.end()
    for (case in cases.map(::Taken)) {
        val name = case.text("name")
        val player = Player(Taken(case["given"]))
        case["steps"].jsonArray.forEachIndexed { at, step -> player.play(Taken(step), "$name, step ${at + 1}") }
        val then = Taken(case["then"])
        assertEquals(then["store"], JsonObject(player.store.mapValues { JsonPrimitive(it.value) }), "$name, the store")
        then.end()
        case.end()
    }
    return cases.size
}

/** One case under way. */
private class Player(given: Taken) {
    val store = HashMap<String, String>()
    private val clock = ManualClock(0, unhex(given.text("seed")))
    private val place = given.maybe("place")?.jsonPrimitive?.content?.also { if (it != "cookie") throw AssertionError("place $it") }
    private val native = Native(Config(place, given.text("keys"), policy = policy(Taken(given["settings"]))), clock)
    private val exchanges = HashMap<String, Exchange>()
    private val asks = HashMap<String, Ask>()

    init {
        given.maybe("store")?.jsonObject?.mapValuesTo(store) { it.value.jsonPrimitive.content }
        given.end()
    }

    fun play(step: Taken, place: String) {
        val (call, name) = step.text("call") to step.text("exchange")
        val args = Taken(step["args"])
        val came = if (call == "edits") edits(exchange(name), args["edits"].jsonArray) else step(call, name, args)
        args.end()
        assertEquals(step["expect"], came, "$place ($call)")
        step.end()
    }

    private fun step(call: String, name: String, args: Taken): JsonElement =
        try {
            outcome(name, made(call, name, args))
        } catch (refusal: Refusal.Refused) {
            if (refusal.code == "wrong-stage") {
                json("error" to JsonPrimitive(refusal.code))
            } else {
                asks.remove(name)
                val events = texts(refusal.events.map { it.name })
                json("failed" to json("error" to JsonPrimitive(refusal.code), "events" to events))
            }
        }

    private fun made(call: String, name: String, args: Taken): Step = when (call) {
        "open" -> {
            clock.set(args.long("now"))
            val begun = native.begin(direct(unhex(args.text("cookies"))), false)
            exchanges[name] = begun.exchange
            begun.step
        }
        "close" -> {
            clock.set(args.long("now"))
            exchange(name).commit(direct(ByteArray(0)), Head())
        }
        "found" -> {
            val silent = args.maybe("unavailable")?.jsonPrimitive?.boolean == true
            exchange(name).answer(if (silent) Answer.Unavailable else loaded(keep(name, args["record"])))
        }
        "saved" -> {
            (asks[name] as? Ask.Swap)?.let { swap ->
                if (swap.record == null) store.remove(hex(swap.handle)) else store[hex(swap.handle)] = hex(swap.record!!)
            }
            exchange(name).answer(Answer.Done)
        }
        "unavailable" -> exchange(name).answer(Answer.Unavailable)
        "conflicted" -> exchange(name).answer(Answer.Conflict(keep(name, args["record"])))
        "unknown" -> {
            // The driver then asks what is there, which is what the step says.
            val record = keep(name, args["record"])
            val asked = exchange(name).answer(Answer.Unknown)
            if ((asked as? Step.Ask)?.ask !is Ask.Load) throw AssertionError("no load after doubt")
            exchange(name).answer(loaded(record))
        }
        "entered" -> exchange(name).answer(Answer.Entered(args.long("revoked"), null, args.long("count").toUInt(), null))
        else -> throw AssertionError("unknown call $call")
    }

    private fun exchange(name: String) = exchanges[name] ?: throw AssertionError("no exchange $name")

    /** The store holds this under the handle that the exchange asks for. */
    private fun keep(name: String, record: JsonElement): ByteArray? {
        val text = if (record is JsonNull) null else record.jsonPrimitive.content
        val handle = asks[name].let { (it as? Ask.Load)?.handle ?: (it as? Ask.Swap)?.handle }?.let(::hex)
        if (handle != null) if (text == null) store.remove(handle) else store[handle] = text
        return text?.let(::unhex)
    }

    private fun loaded(record: ByteArray?): Answer = record?.let { Answer.Found(it) } ?: Answer.Absent

    private fun edits(exchange: Exchange, edits: JsonArray): JsonElement =
        try {
            json("results" to JsonArray(edits.map { edit(exchange, Taken(it)) }))
        } catch (refusal: Refusal.Refused) {
            json("error" to JsonPrimitive(refusal.code))
        }

    private fun edit(exchange: Exchange, edit: Taken): JsonElement {
        val kind = edit.text("edit")
        val key = if (kind in listOf("get", "set", "remove", "add")) edit.text("key") else ""
        val batch = Batch()
        when (kind) {
            "get" -> batch.edit("read") { text(key) }
            "remove" -> batch.edit("remove") { text(key) }
            "set" -> unhex(edit.text("value")).let { value -> batch.edit("set") { text(key).bytes(value) } }
            "add" -> edit.long("n").let { n -> batch.edit("add") { text(key).int(n) } }
            "login" -> {
                val (principal, level) = edit.text("principal") to edit.long("level")
                val roles = edit["roles"].jsonArray.map { it.jsonPrimitive.content }
                batch.edit("login") { text(principal).texts(roles).int(level) }
            }
            "elevate" -> edit.long("level").let { level -> batch.edit("elevate") { int(level) } }
            "client" -> (edit.text("label") to edit.text("address")).let { (label, address) ->
                batch.edit("client") { text(label).text(address) }
            }
            "head_sent" -> batch.edit("head-sent")
            "clear", "logout", "rotate", "strict", "discard" -> batch.edit(kind)
            else -> throw AssertionError("unknown edit $kind")
        }
        edit.end()
        val view = exchange.apply(direct(batch.take()))
        return when (kind) {
            "get" -> text(view.data.find { it.key == key }?.let { hex(it.value) })
            "add" -> view.sum?.let { JsonPrimitive(it) } ?: JsonNull
            "rotate" -> text(view.rotation)
            else -> JsonNull
        }
    }

    private fun outcome(name: String, step: Step): JsonElement {
        asks.remove(name)
        return when (step) {
            is Step.Ask -> asked(step.ask.also { asks[name] = it })
            is Step.Open -> json("handler" to shown(step.view))
            is Step.Closed -> step.closed.run {
                val events = texts(trace.events.map { it.name })
                json("done" to json("cookies" to texts(setCookies), "written" to texts(trace.written), "events" to events))
            }
            is Step.Given -> throw AssertionError("a call for principals")
        }
    }

    private fun asked(ask: Ask): JsonElement = when (ask) {
        is Ask.Load -> json("load" to text(hex(ask.handle)))
        is Ask.Enter -> json("entry" to entry(ask.entry))
        is Ask.Swap -> {
            val listing = when (val listing = ask.listing) {
                is ListingParts.Keep -> JsonNull
                is ListingParts.Enter -> json("enter" to entry(listing.entry))
                is ListingParts.Leave -> json("leave" to text(listing.principal))
            }
            json(
                "swap" to json(
                    "handle" to text(hex(ask.handle)), "expected" to text(ask.expected?.let(::hex)),
                    "new" to text(ask.record?.let(::hex)), "durable" to JsonPrimitive(ask.durable),
                    "garbage_at" to JsonPrimitive(ask.garbageAtMs), "listing" to listing,
                ),
            )
        }
        else -> throw AssertionError("unknown question $ask")
    }

    private fun shown(view: View): JsonElement {
        val person = view.person?.run {
            json("name" to text(name), "roles" to texts(roles), "level" to JsonPrimitive(level.toInt()))
        }
        return json(
            "state" to text(view.trace.state), "handle" to text(view.trace.handle?.let(::hex)),
            "principal" to (person ?: JsonNull), "data" to JsonObject(view.data.associate { it.key to text(hex(it.value)) }),
        )
    }

    private fun entry(made: EntryParts) = json(
        "principal" to text(made.principal), "handle" to text(hex(made.handle)), "until" to JsonPrimitive(made.untilMs),
        "now" to JsonPrimitive(made.nowMs), "at_most" to (made.atMost?.let { JsonPrimitive(it.toInt()) } ?: JsonNull),
    )
}

private fun policy(given: Taken): PolicyParts {
    fun span(name: String) = given.maybe(name)?.let { if (it is JsonNull) 0 else it.jsonPrimitive.long }
    val (carry, limit) = given.maybe("carry") to given.maybe("limit")?.jsonArray
    return PolicyParts(
        idle = span("idle_ms"), touch = span("touch_ms"), absolute = span("absolute_ms"), activation = span("activation_ms"),
        skew = span("skew_ms"), grace = span("grace_ms"), rotateEvery = span("rotate_every_ms"),
        tombstone = span("tombstone_ms"), size = span("size"), sealed = given.maybe("sealed")?.jsonPrimitive?.boolean,
        concurrency = given.maybe("concurrency")?.jsonPrimitive?.content, reuse = given.maybe("reuse")?.jsonPrimitive?.content,
        carry = if (carry is JsonArray) "keys" else carry?.jsonPrimitive?.content,
        carryKeys = (carry as? JsonArray)?.map { it.jsonPrimitive.content }.orEmpty(),
        beyond = limit?.get(0)?.jsonPrimitive?.content, limit = limit?.get(1)?.jsonPrimitive?.int?.toUInt(),
    ).also { given.end() }
}

private fun json(vararg fields: Pair<String, JsonElement>) = JsonObject(mapOf(*fields))

private fun text(value: String?): JsonElement = value?.let { JsonPrimitive(it) } ?: JsonNull

private fun texts(values: List<String>) = JsonArray(values.map { JsonPrimitive(it) })

private fun hex(bytes: ByteArray): String = HexFormat.of().formatHex(bytes)

/** The bytes of a handle, which crosses the border as base64url. */
private fun hex(handle: String): String = hex(Base64.getUrlDecoder().decode(handle))

private fun unhex(text: String): ByteArray = HexFormat.of().parseHex(text)
