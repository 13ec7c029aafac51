package coatroom

import coatroom.border.Config
import coatroom.border.FfiConverterTypeStep
import coatroom.border.FfiConverterTypeView
import coatroom.border.Head
import coatroom.border.InternalException
import coatroom.border.Refusal
import coatroom.border.Step
import coatroom.border.exchangeNumbered
import coatroom.border.exchangesNumbered
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import kotlinx.coroutines.yield
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotSame
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.condition.DisabledIfSystemProperty
import java.io.File
import java.net.URLClassLoader
import kotlin.random.Random
import coatroom.border.Coatroom as Native

/** The way over the border without JNA, walked as no [Session] would. */
@DisabledIfSystemProperty(named = "coatroom.jni", matches = "false", disabledReason = "no call is bound then")
internal class HotCallsTest {
    private fun <T> over(claim: (Native) -> T): T = Native(Config("memory", KEYS.ring, policy = Policy().parts()), null).use(claim)

    private fun begin(native: Native): ByJni = ByJni.begin(native.number(), NONE, false).half as ByJni

    private fun refused(call: () -> Unit): String = assertThrows<Refusal.Refused> { call() }.code

    private fun commit(exchange: Long, edits: ByteArray = NONE, head: ByteArray = NONE): Step =
        answer(HotCalls.commit(exchange, edits, head), FfiConverterTypeStep::read)

    @Test
    fun `the calls are bound, and not silently left to JNA`() = assertTrue(HotCalls.areBound)

    @Test
    fun `each class loader binds its own`() {
        val classes = System.getProperty("java.class.path").split(File.pathSeparator).map { File(it).toURI().toURL() }
        URLClassLoader(classes.toTypedArray(), ClassLoader.getPlatformClassLoader()).use { loader ->
            val others = loader.loadClass(HotCalls::class.java.name)
            assertNotSame(HotCalls::class.java, others)
            assertEquals(true, others.getMethod("getAreBound").invoke(others.getField("INSTANCE").get(null)))
            others.getMethod("drop", Long::class.javaPrimitiveType).invoke(null, 1L)
        }
    }

    @Test
    fun `numbers that stand for nothing are refused, whatever they are`() = over { native ->
        val random = Random(1)
        val numbers = listOf(0, -1, Long.MIN_VALUE, Long.MAX_VALUE) + List(1000) { random.nextLong() }
        for (number in numbers) {
            assertEquals("border", refused { ByJni.begin(number, NONE, false) })
            assertEquals("wrong-stage", refused { answer(HotCalls.apply(number, NONE), FfiConverterTypeView::read) })
            assertEquals("wrong-stage", refused { commit(number) })
            assertEquals("wrong-stage", refused { exchangeNumbered(number) })
            HotCalls.drop(number)
        }
        assertTrue(begin(native).commit(NONE, Head()) is Step.Closed)
    }

    @Test
    fun `an exchange is committed once, and is no more then`() = over { native ->
        val half = begin(native)
        assertTrue(half.commit(NONE, Head()) is Step.Closed)
        assertEquals("wrong-stage", refused { half.commit(NONE, Head()) })
        assertEquals("wrong-stage", refused { half.apply(NONE) })
        assertEquals("wrong-stage", refused { half.exchange })
        half.close()
        half.close()
    }

    @Test
    fun `an exchange that was closed is no more, and its number stands for no other`() = over { native ->
        val closed = List(100) { begin(native).also { it.close() } }
        val open = List(100) { begin(native) }
        closed.forEach { half -> assertEquals("wrong-stage", refused { half.commit(NONE, Head()) }) }
        open.forEach { half -> assertTrue(half.commit(NONE, Head()) is Step.Closed) }
    }

    @Test
    fun `a closed Coatroom opens nothing, and what is open ends well`() {
        val (native, half) = over { native -> native.number() to begin(native) }
        assertEquals("border", refused { ByJni.begin(native, NONE, false) })
        assertTrue(half.commit(NONE, Head()) is Step.Closed)
    }

    @Test
    fun `a session reads, adds and commits without the object that JNA knows`() = runBlocking {
        val coatroom = Coatroom("memory", KEYS)
        val session = coatroom.open(Request(null, "POST"))
        coatroom.close()
        session.set("a", "b")
        assertEquals(2, session.add("n", 2))
        assertEquals(1, session.commit().setCookies.size)
    }

    @Test
    fun `bytes that are no cookies, no batch or no head are refused or nobody's, and fail nothing`() = over { native ->
        val random = Random(1)
        fun junk() = random.nextBytes(random.nextInt(40))
        repeat(2000) {
            val bytes = HotCalls.begin(native.number(), junk(), random.nextBoolean())
            val number = answer(bytes) { FfiConverterTypeView.read(it).let { _ -> it.getLong() } }
            val outcomes = listOf(
                runCatching { answer(HotCalls.apply(number, junk()), FfiConverterTypeView::read) },
                runCatching { commit(number, junk(), junk()) },
            )
            outcomes.mapNotNull { it.exceptionOrNull() }.forEach { assertTrue(it is Refusal, "$it") }
        }
    }

    @Test
    fun `what the native half fails with comes out as it does by JNA`() {
        val bytes = byteArrayOf(2, 0, 0, 0, 2, 'o'.code.toByte(), 'h'.code.toByte())
        assertEquals("oh", assertThrows(InternalException::class.java) { answer(bytes) { } }.message)
    }

    @Test
    fun `a hundred thousand exchanges leave nothing, even those that are forgotten`() = over { native ->
        System.gc()
        val before = exchangesNumbered()
        repeat(100_000) { at ->
            val half = begin(native)
            if (at % 4 == 1) half.close() else if (at % 4 > 1) half.commit(NONE, Head())
        }
        val until = System.nanoTime() + PATIENCE_NS
        while (exchangesNumbered() > before && System.nanoTime() < until) System.gc().also { Thread.sleep(10) }
        assertTrue(exchangesNumbered() <= before, "${exchangesNumbered()} after $before")
    }

    @Test
    fun `a thousand exchanges that interleave are each their own`() = runBlocking {
        Coatroom("memory", KEYS).use { coatroom ->
            val names = withContext(Dispatchers.Default) {
                List(1000) { at ->
                    async {
                        val session = coatroom.open(Request(null, "POST"))
                        yield()
                        session.set("mine", at)
                        yield()
                        assertEquals(at.toLong(), session.add("sum", at.toLong()))
                        yield()
                        val cookie = session.commit().setCookies.single().substringBefore(';')
                        coatroom.exchange(Request(cookie)) { it.get<Int>("mine") to it.get<Int>("sum") }.value
                    }
                }.awaitAll()
            }
            assertEquals(List(1000) { it to it }, names)
        }
    }

    private companion object {
        val NONE = ByteArray(0)
        const val PATIENCE_NS = 20_000_000_000
    }
}
