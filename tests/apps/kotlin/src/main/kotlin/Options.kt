import coatroom.Concurrency
import coatroom.Keys
import coatroom.Policy
import kotlin.system.exitProcess
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds

/** One fixed ring, the same as in `options.py`. */
private const val TEST_RING = "1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE"
private const val USAGE_ERROR = 2
private val LIMITS = listOf("idle", "absolute", "grace", "rotate", "lease", "skew").map { "--$it-seconds" }
private val NAMES = listOf("--port", "--store", "--workers", "--concurrency") + LIMITS

/** The command line of the app. */
class Options(arguments: Array<String>) {
    private val given: Map<String, String> = arguments.toList().chunked(2).associate { pair ->
        if (pair.size != 2 || pair[0] !in NAMES) refuse("flags are: ${NAMES.joinToString(" ")}, each with a value")
        pair[0] to pair[1]
    }

    val port: Int = given["--port"]?.toIntOrNull() ?: refuse("--port is required")
    val store: String = given["--store"] ?: "memory"
    val workers: Int = (given["--workers"] ?: "1").toIntOrNull()?.takeIf { it > 0 } ?: refuse("--workers must be at least 1")

    init {
        if (store == "memory" && workers > 1) {
            refuse("--store memory belongs to one process: use --workers 1 or --store sqlite:PATH")
        }
    }

    fun keys(): Keys {
        val own = listOf("COATROOM_KEYS", "COATROOM_KEYS_FILE").any { !System.getenv(it).isNullOrEmpty() }
        return if (own) Keys.fromEnvironment() else Keys(TEST_RING)
    }

    fun policy(): Policy {
        val grace = limit("grace")
        return Policy(
            idle = limit("idle"),
            absolute = limit("absolute"),
            rotateEvery = limit("rotate"),
            grace = grace,
            lease = limit("lease"),
            skew = limit("skew") ?: grace?.let { minOf(5.seconds, it / 4) },
            concurrency = Concurrency.valueOf((given["--concurrency"] ?: "merge").uppercase()),
        )
    }

    private fun limit(name: String): Duration? = given["--$name-seconds"]?.toDouble()?.seconds
}

fun refuse(what: String): Nothing {
    System.err.println("run kotlin: $what")
    exitProcess(USAGE_ERROR)
}
