package coatroom

import coatroom.border.Exchange
import coatroom.border.FfiConverterLong
import coatroom.border.FfiConverterString
import coatroom.border.FfiConverterTypeHead
import coatroom.border.FfiConverterTypeRefusal
import coatroom.border.FfiConverterTypeStep
import coatroom.border.FfiConverterTypeView
import coatroom.border.Head
import coatroom.border.InternalException
import coatroom.border.Step
import coatroom.border.View
import coatroom.border.exchangeNumbered
import java.lang.ref.Cleaner
import java.lang.ref.Reference
import java.nio.ByteBuffer
import java.util.concurrent.atomic.AtomicBoolean

/** The native half of an exchange. What is refused is a [coatroom.border.Refusal]. */
internal sealed interface Half : AutoCloseable {
    /** For the calls that few exchanges make. */
    val exchange: Exchange

    fun apply(edits: ByteArray): View

    fun commit(edits: ByteArray, head: Head): Step
}

/** An exchange that has begun, and its first step. */
internal class Begun(val half: Half, val step: Step)

/** All calls go through JNA. */
internal class ByJna(override val exchange: Exchange) : Half {
    override fun apply(edits: ByteArray): View = exchange.apply(direct(edits))

    override fun commit(edits: ByteArray, head: Head): Step = exchange.commit(direct(edits), head)

    override fun close() = exchange.close()
}

/** An exchange over a store of this library: the usual calls go through JNI. */
internal class ByJni private constructor(private val number: Long) : Half {
    private val held = Held(number)
    private val cleanable = cleaner.register(this, held)
    private var made: Exchange? = null

    override val exchange: Exchange
        get() = made ?: exchangeNumbered(number).also { made = it }

    override fun apply(edits: ByteArray): View =
        try {
            answer(HotCalls.apply(number, edits), FfiConverterTypeView::read)
        } finally {
            Reference.reachabilityFence(this)
        }

    override fun commit(edits: ByteArray, head: Head): Step =
        try {
            val bytes = HotCalls.commit(number, edits, bytes(head))
            held.set(false)
            answer(bytes, FfiConverterTypeStep::read)
        } finally {
            Reference.reachabilityFence(this)
        }

    override fun close() {
        cleanable.clean()
        made?.close()
    }

    /** Lets go of the exchange unless that was done. It does not know its [ByJni], which would never be garbage then. */
    private class Held(private val number: Long) : AtomicBoolean(true), Runnable {
        override fun run() {
            if (getAndSet(false)) HotCalls.drop(number)
        }
    }

    companion object {
        private val cleaner = Cleaner.create()
        private val nothing = Head()
        private val empty = ByteArray(0)

        fun begin(coatroom: Long, cookies: ByteArray, serial: Boolean): Begun =
            answer(HotCalls.begin(coatroom, cookies, serial)) { buffer ->
                val view = FfiConverterTypeView.read(buffer)
                Begun(ByJni(FfiConverterLong.read(buffer)), Step.Open(view))
            }

        private fun bytes(head: Head): ByteArray {
            if (head == nothing) return empty
            val buffer = ByteBuffer.allocate(FfiConverterTypeHead.allocationSize(head).toInt())
            FfiConverterTypeHead.write(head, buffer)
            return buffer.array().copyOf(buffer.position())
        }
    }
}

/** What a call came to; it is read as generated code would read it. */
internal fun <T> answer(bytes: ByteArray, read: (ByteBuffer) -> T): T {
    val buffer = ByteBuffer.wrap(bytes)
    return when (buffer.get()) {
        DONE -> read(buffer)
        REFUSED -> throw FfiConverterTypeRefusal.read(buffer)
        else -> throw InternalException(FfiConverterString.read(buffer))
    }
}

private const val DONE: Byte = 0
private const val REFUSED: Byte = 1
