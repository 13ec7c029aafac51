package coatroom

import java.io.ByteArrayOutputStream
import java.nio.ByteBuffer
import java.nio.charset.CharacterCodingException

/*
 * The closed data model in deterministic CBOR (RFC 8949 section 4.2.1), byte for byte as the core writes it: shortest
 * integers and floats, definite lengths, map keys sorted by their encodings, no tags. The native half checks every value, so
 * a mistake here is refused there and never stored.
 */

private const val MAX_DEPTH = 32
private const val MANTISSA_BITS = 52
private const val HALF_MANTISSA_BITS = 10
private val HALF_EXPONENTS = -14..15
private const val HALF_BIAS = 15
private const val HALF_SUBNORMALS = 16_777_216.0 // 2^24

/** Writes values one after another. */
internal class CborWriter {
    private val out = ByteArrayOutputStream()

    fun bytes(): ByteArray = out.toByteArray()

    fun value(value: Any?, depth: Int = MAX_DEPTH): CborWriter = apply {
        when (value) {
            null -> out.write(0xf6)
            false -> out.write(0xf4)
            true -> out.write(0xf5)
            is Long -> int(value)
            is Double -> float(value)
            is String -> text(value)
            is ByteArray -> {
                head(2, value.size.toLong())
                out.write(value)
            }
            is List<*> -> {
                list(value.size)
                value.forEach { value(it, nested(depth)) }
            }
            is Map<*, *> -> map(value, nested(depth))
            else -> throw unsupported("a ${value::class.simpleName} has no place in the data model")
        }
    }

    fun list(items: Int) = head(4, items.toLong())

    fun int(value: Long) = if (value >= 0) head(0, value) else head(1, value.inv())

    fun text(value: String) {
        val utf8 = try {
            Charsets.UTF_8.newEncoder().encode(java.nio.CharBuffer.wrap(value))
        } catch (error: CharacterCodingException) {
            throw unsupported("a text has half of a surrogate pair", error)
        }
        head(3, utf8.remaining().toLong())
        out.write(utf8.array(), utf8.arrayOffset(), utf8.remaining())
    }

    fun raw(bytes: ByteArray) = out.write(bytes)

    private fun map(map: Map<*, *>, depth: Int) {
        head(5, map.size.toLong())
        val encoded = map.entries.map { (key, value) ->
            val name = key as? String ?: throw unsupported("the keys of a map are texts")
            CborWriter().apply { text(name) }.bytes() to value
        }
        encoded.sortedWith { (a, _), (b, _) -> java.util.Arrays.compareUnsigned(a, b) }.forEach { (key, value) ->
            out.write(key)
            value(value, depth)
        }
    }

    private fun float(value: Double) {
        if (!value.isFinite()) throw unsupported("a float is infinite or not a number: store a finite one, or text")
        val half = half(value)
        when {
            half != null -> {
                out.write(0xf9)
                big(half.toLong(), 2)
            }
            value.toFloat().toDouble() == value -> {
                out.write(0xfa)
                big(value.toFloat().toRawBits().toLong(), 4)
            }
            else -> {
                out.write(0xfb)
                big(value.toRawBits(), 8)
            }
        }
    }

    private fun head(major: Int, argument: Long) {
        val (info, width) = when (argument) {
            in 0..0x17 -> argument.toInt() to 0
            in 0..0xff -> 0x18 to 1
            in 0..0xffff -> 0x19 to 2
            in 0..0xffff_ffffL -> 0x1a to 4
            else -> 0x1b to 8
        }
        out.write(major shl 5 or info)
        big(argument, width)
    }

    private fun big(value: Long, width: Int) {
        for (at in width - 1 downTo 0) out.write((value ushr (8 * at)).toInt())
    }

    private fun nested(depth: Int): Int {
        if (depth == 0) throw unsupported("lists and maps are nested more than $MAX_DEPTH deep: flatten the value")
        return depth - 1
    }
}

/** The bits of a float of 16 bits that is exactly this, if there is one. */
private fun half(value: Double): Int? {
    val sign = if (value.toRawBits() < 0) 0x8000 else 0
    val exponent = Math.getExponent(value)
    val mantissa = value.toRawBits() and ((1L shl MANTISSA_BITS) - 1)
    val dropped = MANTISSA_BITS - HALF_MANTISSA_BITS
    if (exponent in HALF_EXPONENTS) {
        if (mantissa and ((1L shl dropped) - 1) != 0L) return null
        return sign or ((exponent + HALF_BIAS) shl HALF_MANTISSA_BITS) or (mantissa ushr dropped).toInt()
    }
    val steps = Math.abs(value) * HALF_SUBNORMALS
    return if (steps < (1 shl HALF_MANTISSA_BITS) && steps == Math.floor(steps)) sign or steps.toInt() else null
}

/** Reads values that the core has checked. */
internal class CborReader(bytes: ByteArray) {
    private val rest: ByteBuffer = ByteBuffer.wrap(bytes)

    fun value(): Any? {
        val initial = rest.get().toInt() and 0xff
        when (initial) {
            0xf4 -> return false
            0xf5 -> return true
            0xf6 -> return null
            0xf9 -> return unhalf(rest.short.toInt() and 0xffff)
            0xfa -> return rest.float.toDouble()
            0xfb -> return rest.double
        }
        val argument = argument(initial and 0x1f)
        return when (initial shr 5) {
            0 -> argument
            1 -> argument.inv()
            2 -> take(argument)
            3 -> String(take(argument), Charsets.UTF_8)
            4 -> (0 until argument).map { value() }
            5 -> (0 until argument).associate { value() as String to value() }
            else -> throw unsupported("the bytes are not one value in deterministic CBOR")
        }
    }

    private fun argument(info: Int): Long = when (info) {
        0x18 -> rest.get().toLong() and 0xff
        0x19 -> rest.short.toLong() and 0xffff
        0x1a -> rest.int.toLong() and 0xffff_ffffL
        0x1b -> rest.long
        else -> info.toLong()
    }

    private fun take(length: Long): ByteArray = ByteArray(length.toInt()).also(rest::get)
}

private fun unhalf(bits: Int): Double {
    val sign = if (bits and 0x8000 != 0) -1.0 else 1.0
    val exponent = (bits shr HALF_MANTISSA_BITS) and 0x1f
    val mantissa = (bits and 0x3ff).toDouble()
    return sign * if (exponent == 0) mantissa / HALF_SUBNORMALS else Math.scalb(1 + mantissa / 1024, exponent - HALF_BIAS)
}

internal fun unsupported(what: String, cause: Throwable? = null) = ValueException("value", what, cause)
