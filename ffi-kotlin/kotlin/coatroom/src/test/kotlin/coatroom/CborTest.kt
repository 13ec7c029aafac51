package coatroom

import kotlinx.coroutines.runBlocking
import kotlinx.serialization.Serializable
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test
import kotlin.random.Random

@Serializable
internal enum class Size { SMALL, LARGE }

@Serializable
internal data class Line(val sku: String, val count: Int, val price: Double, val size: Size = Size.SMALL)

@Serializable
internal data class Cart(
    val lines: List<Line>,
    val note: String? = null,
    val stamps: Map<String, Long> = emptyMap(),
    val photo: List<Byte> = emptyList(),
)

internal class CborTest {
    /** Appendix A of RFC 8949, as far as it lies in our model; the core has the same list. */
    @Test
    fun `values encode as the examples of RFC 8949 do`() {
        val examples = listOf(
            0L to "00", 23L to "17", 24L to "1818", 255L to "18ff", 256L to "190100", 1_000_000L to "1a000f4240",
            4_294_967_296L to "1b0000000100000000", -1L to "20", Long.MIN_VALUE to "3b7fffffffffffffff",
            0.0 to "f90000", -0.0 to "f98000", 1.0 to "f93c00", 1.1 to "fb3ff199999999999a", 65504.0 to "f97bff",
            100_000.0 to "fa47c35000", 3.4028234663852886e38 to "fa7f7fffff", 1.0e300 to "fb7e37e43c8800759c",
            5.960464477539063e-8 to "f90001", 6.103515625e-5 to "f90400", -4.1 to "fbc010666666666666",
            true to "f5", null to "f6", byteArrayOf(1, 2, 3, 4) to "4401020304", "ü" to "62c3bc", "水" to "63e6b0b4",
            listOf(1L, listOf(2L, 3L)) to "8201820203", mapOf("aa" to null, "b" to null) to "a26162f6626161f6",
        )
        for ((value, hex) in examples) {
            val bytes = CborWriter().value(value).bytes()
            assertEquals(hex, bytes.joinToString("") { "%02x".format(it) }, "$value")
            val back = CborReader(bytes).value()
            if (value is ByteArray) assertArrayEquals(value, back as ByteArray) else assertEquals(value, back)
        }
    }

    @Test
    fun `the core takes whatever is written, and gives it back byte for byte`() = runBlocking<Unit> {
        val random = Random(7)
        Coatroom("memory", KEYS, Policy(size = 4 shl 20)).use { coatroom ->
            val browser = Browser(coatroom)
            repeat(300) {
                val bytes = CborWriter().value(tree(random, 3)).bytes()
                browser.send { it.setBytes("tree", bytes) }
                assertArrayEquals(bytes, browser.send { it.bytes("tree") })
            }
        }
    }

    @Test
    fun `a class survives the session with its types`() = runBlocking<Unit> {
        val cart = Cart(listOf(Line("scarf", 2, 19.5, Size.LARGE), Line("hat", 1, 8.0)), "gift", mapOf("a" to 1L), listOf(1, -1))
        Coatroom("memory", KEYS).use { coatroom ->
            val browser = Browser(coatroom)
            browser.send { it.set("cart", cart) }
            assertEquals(cart, browser.send { it.get<Cart>("cart") })
            assertEquals(listOf(1.5f), browser.send { it.set("f", listOf(1.5f)); it.get<List<Float>>("f") })
        }
    }

    @Test
    fun `what has no place in the model is refused where it is set`() = runBlocking<Unit> {
        Coatroom("memory", KEYS).use { coatroom ->
            Browser(coatroom).send { session ->
                assertThrows(ValueException::class.java) { session.set("x", Double.NaN) }
                assertThrows(ValueException::class.java) { session.set("x", "\ud800") }
                assertThrows(ValueException::class.java) { session.set("x", mapOf(listOf(1) to 2)) }
                session.set("x", "text")
                assertThrows(ValueException::class.java) { session.get<Int>("x") }
                session.set("x", 1_000)
                assertThrows(ValueException::class.java) { session.get<Byte>("x") }
            }
        }
    }

    private fun tree(random: Random, depth: Int): Any? = when (random.nextInt(if (depth == 0) 7 else 9)) {
        0 -> null
        1 -> random.nextBoolean()
        2 -> random.nextLong() shr random.nextInt(64)
        3 -> Double.fromBits(random.nextLong()).takeIf(Double::isFinite) ?: 0.5
        4 -> random.nextInt(-70_000, 70_000) / 1024.0
        5 -> text(random)
        6 -> random.nextBytes(random.nextInt(300))
        7 -> List(random.nextInt(26)) { tree(random, depth - 1) }
        else -> (0..random.nextInt(30)).associate { text(random) to tree(random, depth - 1) }
    }

    private fun text(random: Random) = (0..random.nextInt(30)).joinToString("") { listOf("a", "ü", "水", "😀").random(random) }
}
