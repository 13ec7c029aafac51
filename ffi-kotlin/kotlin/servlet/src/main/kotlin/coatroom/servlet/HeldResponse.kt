package coatroom.servlet

import jakarta.servlet.ServletOutputStream
import jakarta.servlet.WriteListener
import jakarta.servlet.http.HttpServletResponse
import jakarta.servlet.http.HttpServletResponse.SC_FOUND
import jakarta.servlet.http.HttpServletResponseWrapper
import java.io.ByteArrayOutputStream
import java.io.OutputStreamWriter
import java.io.PrintWriter

/** Holds a response back until [beforeHead] has run, which happens once: at its end, or when more is written than is held. */
internal class HeldResponse(
    private val outer: HttpServletResponse,
    private val beforeHead: (HttpServletResponse) -> Unit,
) : HttpServletResponseWrapper(outer) {
    private val held = ByteArrayOutputStream()
    private var isHeld = true
    private val stream by lazy { Stream() }
    private val text by lazy { PrintWriter(OutputStreamWriter(stream, characterEncoding ?: "ISO-8859-1")) }
    private var usesText = false

    override fun getOutputStream(): ServletOutputStream = stream

    override fun getWriter(): PrintWriter {
        usesText = true
        return text
    }

    override fun isCommitted(): Boolean = !isHeld || outer.isCommitted

    override fun flushBuffer() {
        letGo()
        outer.flushBuffer()
    }

    override fun resetBuffer() {
        if (usesText) text.flush()
        held.reset()
        outer.resetBuffer()
    }

    override fun reset() {
        if (usesText) text.flush()
        held.reset()
        outer.reset()
    }

    override fun sendError(status: Int): Unit = instead(status) { sendError(status) }

    override fun sendError(status: Int, message: String?): Unit = instead(status) { sendError(status, message) }

    override fun sendRedirect(location: String?): Unit = instead(SC_FOUND) { sendRedirect(location) }

    /** Runs what comes before the head, and passes on what was held. */
    fun letGo() {
        if (usesText) text.flush()
        if (!isHeld) return
        isHeld = false
        beforeHead(outer)
        if (held.size() > 0) outer.outputStream.write(held.toByteArray())
        held.reset()
    }

    /** An answer that takes the place of what was written; [beforeHead] sees its status. */
    private fun instead(status: Int, answer: HttpServletResponse.() -> Unit) {
        resetBuffer()
        if (isHeld) {
            isHeld = false
            outer.status = status
            beforeHead(outer)
        }
        outer.answer()
    }

    private inner class Stream : ServletOutputStream() {
        override fun write(byte: Int) = write(byteArrayOf(byte.toByte()), 0, 1)

        override fun write(bytes: ByteArray, from: Int, length: Int) {
            if (isHeld && held.size() + length > bufferSize) letGo()
            if (isHeld) held.write(bytes, from, length) else outer.outputStream.write(bytes, from, length)
        }

        /** What a writer of text flushes into here is still held; the application flushes by `flushBuffer`. */
        override fun flush() {
            if (!isHeld) outer.outputStream.flush()
        }

        override fun isReady(): Boolean = true

        override fun setWriteListener(listener: WriteListener): Unit =
            throw UnsupportedOperationException("a response with a session is written blocking")
    }
}
