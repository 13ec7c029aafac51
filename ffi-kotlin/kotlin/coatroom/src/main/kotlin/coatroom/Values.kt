@file:OptIn(ExperimentalSerializationApi::class)

package coatroom

import kotlinx.serialization.DeserializationStrategy
import kotlinx.serialization.ExperimentalSerializationApi
import kotlinx.serialization.SerializationException
import kotlinx.serialization.SerializationStrategy
import kotlinx.serialization.descriptors.SerialDescriptor
import kotlinx.serialization.descriptors.StructureKind
import kotlinx.serialization.encoding.AbstractDecoder
import kotlinx.serialization.encoding.AbstractEncoder
import kotlinx.serialization.encoding.CompositeDecoder
import kotlinx.serialization.encoding.CompositeEncoder
import kotlinx.serialization.modules.EmptySerializersModule
import kotlinx.serialization.modules.SerializersModule

/*
 * kotlinx.serialization onto the data model: classes and maps become maps with text keys, lists lists, enums their names,
 * byte arrays bytes. So a value reads the same in every language.
 */

internal fun <T> encode(serializer: SerializationStrategy<T>, value: T): ByteArray {
    var tree: Any? = null
    TreeEncoder { tree = it }.encodeSerializableValue(serializer, value)
    return CborWriter().value(tree).bytes()
}

internal fun <T> decode(serializer: DeserializationStrategy<T>, bytes: ByteArray): T =
    try {
        TreeDecoder(CborReader(bytes).value()).decodeSerializableValue(serializer)
    } catch (error: SerializationException) {
        throw unsupported("the stored value is of another type: ${error.message}", error)
    }

private open class TreeEncoder(private val put: (Any?) -> Unit) : AbstractEncoder() {
    override val serializersModule: SerializersModule = EmptySerializersModule()

    override fun shouldEncodeElementDefault(descriptor: SerialDescriptor, index: Int): Boolean = true

    override fun encodeNull() = put(null)

    override fun encodeValue(value: Any) = put(
        when (value) {
            is Byte, is Short, is Int -> (value as Number).toLong()
            is Float -> value.toDouble()
            is Char -> value.toString()
            else -> value
        },
    )

    override fun encodeEnum(enumDescriptor: SerialDescriptor, index: Int) = put(enumDescriptor.getElementName(index))

    override fun <T> encodeSerializableValue(serializer: SerializationStrategy<T>, value: T) =
        if (value is ByteArray) put(value) else super.encodeSerializableValue(serializer, value)

    override fun beginStructure(descriptor: SerialDescriptor): CompositeEncoder = when (descriptor.kind) {
        StructureKind.LIST -> mutableListOf<Any?>().let { list -> Structure(list::add) { put(list) } }
        StructureKind.MAP -> mutableListOf<Any?>().let { pairs -> Structure(pairs::add) { put(map(pairs)) } }
        else -> Fields(put)
    }
}

private fun map(pairs: List<Any?>): Map<String, Any?> = pairs.chunked(2).associate { (key, value) ->
    when (key) {
        is String -> key
        is Long, is Boolean -> key.toString()
        else -> throw unsupported("the keys of a map are texts")
    } to value
}

private class Structure(add: (Any?) -> Unit, private val finish: () -> Unit) : TreeEncoder(add) {
    override fun endStructure(descriptor: SerialDescriptor) = finish()
}

private class Fields private constructor(
    private val fields: MutableMap<String, Any?>,
    private val name: Array<String>,
    private val putWhole: (Any?) -> Unit,
) : TreeEncoder({ fields[name[0]] = it }) {
    constructor(put: (Any?) -> Unit) : this(linkedMapOf(), arrayOf(""), put)

    override fun encodeElement(descriptor: SerialDescriptor, index: Int): Boolean {
        name[0] = descriptor.getElementName(index)
        return true
    }

    override fun endStructure(descriptor: SerialDescriptor) = putWhole(fields)
}

private open class TreeDecoder(private val tree: Any?) : AbstractDecoder() {
    override val serializersModule: SerializersModule = EmptySerializersModule()

    protected open fun current(): Any? = tree

    override fun decodeElementIndex(descriptor: SerialDescriptor): Int = CompositeDecoder.DECODE_DONE

    override fun decodeNotNullMark(): Boolean = current() != null

    override fun decodeNull(): Nothing? = null

    override fun decodeBoolean(): Boolean = when (val value = current()) {
        "true" -> true
        "false" -> false
        else -> expect(value)
    }

    override fun decodeLong(): Long = when (val value = current()) {
        is String -> value.toLongOrNull() ?: throw SerializationException("expected an integer")
        else -> expect(value)
    }

    override fun decodeByte(): Byte = ranged(Byte.MIN_VALUE.toLong()..Byte.MAX_VALUE).toByte()

    override fun decodeShort(): Short = ranged(Short.MIN_VALUE.toLong()..Short.MAX_VALUE).toShort()

    override fun decodeInt(): Int = ranged(Int.MIN_VALUE.toLong()..Int.MAX_VALUE).toInt()

    override fun decodeDouble(): Double = expect<Number>(current()).toDouble()

    override fun decodeFloat(): Float = decodeDouble().toFloat()

    override fun decodeString(): String = expect(current())

    override fun decodeChar(): Char =
        decodeString().singleOrNull() ?: throw SerializationException("expected one character")

    override fun decodeEnum(enumDescriptor: SerialDescriptor): Int = enumDescriptor.getElementIndex(decodeString())

    @Suppress("UNCHECKED_CAST")
    override fun <T> decodeSerializableValue(deserializer: DeserializationStrategy<T>): T {
        val bytes = current() as? ByteArray
        return if (bytes != null) bytes as T else super.decodeSerializableValue(deserializer)
    }

    override fun beginStructure(descriptor: SerialDescriptor): CompositeDecoder = when (descriptor.kind) {
        StructureKind.LIST -> Items(expect(current()))
        StructureKind.MAP -> Items(expect<Map<*, *>>(current()).flatMap { (key, value) -> listOf(key, value) })
        else -> Named(expect(current()))
    }

    private fun ranged(range: LongRange): Long {
        val value = decodeLong()
        return if (value in range) value else throw SerializationException("$value lies outside $range")
    }

    protected inline fun <reified T> expect(value: Any?): T =
        value as? T ?: throw SerializationException("expected ${T::class.simpleName}")
}

private class Items(private val items: List<Any?>) : TreeDecoder(items) {
    private var at = -1

    override fun current(): Any? = items[at]

    override fun decodeElementIndex(descriptor: SerialDescriptor): Int =
        if (++at < items.size) at else CompositeDecoder.DECODE_DONE
}

private class Named(fields: Map<String, Any?>) : TreeDecoder(fields) {
    private val rest = fields.entries.iterator()
    private var value: Any? = null

    override fun current(): Any? = value

    override fun decodeElementIndex(descriptor: SerialDescriptor): Int {
        while (rest.hasNext()) {
            val (name, held) = rest.next()
            val index = descriptor.getElementIndex(name)
            if (index == CompositeDecoder.UNKNOWN_NAME) continue
            value = held
            return index
        }
        return CompositeDecoder.DECODE_DONE
    }
}
