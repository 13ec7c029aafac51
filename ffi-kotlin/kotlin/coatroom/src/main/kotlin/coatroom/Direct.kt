package coatroom

import java.nio.ByteBuffer

private const val KEPT_BYTES = 4096

/** One for each thread: making such a buffer is dear, and nearly all that crosses is small. */
private val kept = ThreadLocal.withInitial { ByteBuffer.allocateDirect(KEPT_BYTES) }

/** Where the native half can read these bytes without another copy, until the next call of this on the same thread. */
internal fun direct(bytes: ByteArray): ByteBuffer {
    val buffer = if (bytes.size <= KEPT_BYTES) kept.get().clear() else ByteBuffer.allocateDirect(bytes.size)
    return buffer.put(bytes).flip()
}

/** The same, in a buffer of its own, for a second argument. */
internal fun apart(bytes: ByteArray): ByteBuffer = ByteBuffer.allocateDirect(bytes.size).put(bytes).flip()
