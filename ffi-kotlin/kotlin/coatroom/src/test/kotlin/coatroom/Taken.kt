package coatroom

import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.long

/** An object of JSON of which nothing is passed over: what was not taken is an error. */
internal class Taken(of: JsonElement) {
    private val left = of.jsonObject.toMutableMap()

    fun maybe(name: String): JsonElement? = left.remove(name)

    operator fun get(name: String): JsonElement = maybe(name) ?: throw AssertionError("`$name` is missing beside ${left.keys}")

    fun text(name: String): String = get(name).jsonPrimitive.content

    fun long(name: String): Long = get(name).jsonPrimitive.long

    fun end() {
        if (left.isNotEmpty()) throw AssertionError("unknown fields ${left.keys}")
    }
}
