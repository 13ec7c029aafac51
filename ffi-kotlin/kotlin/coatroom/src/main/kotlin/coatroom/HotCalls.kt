package coatroom

import com.sun.jna.JNIEnv
import com.sun.jna.Library
import com.sun.jna.NativeLibrary
import coatroom.border.uniffiEnsureInitialized
import coatroom.border.Coatroom as Native

/**
 * The calls that nearly every exchange makes, without JNA. What goes in and comes out is described where the other half is, in
 * `ffi-kotlin/src/numbered.rs`.
 */
internal object HotCalls {
    private const val LIBRARY = "coatroom_jni"
    private const val BIND = "coatroom_bind"
    private const val BOUND = 1

    /**
     * Whether these calls can be made; otherwise all go through JNA, which may do more than this JVM lets us. With
     * `-Dcoatroom.jni=false` they do in any case.
     */
    val areBound: Boolean = System.getProperty("coatroom.jni") != "false" && bind()

    @JvmStatic
    external fun begin(coatroom: Long, cookies: ByteArray, serial: Boolean): ByteArray

    @JvmStatic
    external fun apply(exchange: Long, edits: ByteArray): ByteArray

    @JvmStatic
    external fun commit(exchange: Long, edits: ByteArray, head: ByteArray): ByteArray

    @JvmStatic
    external fun drop(exchange: Long)

    /** The library that JNA has loaded binds the calls above to this class: both ways lead to the same objects. */
    private fun bind(): Boolean {
        // It stays loaded from now on.
        uniffiEnsureInitialized()
        return try {
            val name = System.getProperty("uniffi.component.coatroom_ffi.libraryOverride") ?: LIBRARY
            val arguments = arrayOf(JNIEnv.CURRENT, HotCalls::class.java)
            val function = NativeLibrary.getInstance(name, Native::class.java.classLoader).getFunction(BIND)
            function.invoke(Int::class.javaPrimitiveType, arguments, mapOf(Library.OPTION_ALLOW_OBJECTS to true)) == BOUND
        } catch (_: LinkageError) {
            false
        }
    }
}
