package coatroom.servlet

import coatroom.Coatroom
import coatroom.Keys
import coatroom.Policy
import coatroom.Request
import jakarta.servlet.http.HttpServlet
import jakarta.servlet.http.HttpServletRequest
import jakarta.servlet.http.HttpServletResponse
import kotlinx.coroutines.runBlocking
import org.apache.catalina.startup.Tomcat
import org.apache.tomcat.util.descriptor.web.FilterDef
import org.apache.tomcat.util.descriptor.web.FilterMap
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.BeforeEach
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import java.nio.file.Path
import kotlin.time.Duration.Companion.milliseconds

/** The filter under Tomcat. */
internal class FilterTest {
    @TempDir
    lateinit var folder: Path
    private val keys = Keys("1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE")
    private val coatroom = Coatroom("memory", keys)
    private val hasty = Coatroom("memory", keys, Policy(idle = 1.milliseconds))
    private val away = Coatroom("redis://127.0.0.1:1?time_limit=0.2", keys)
    private val tomcat = Tomcat()

    private class Handlers : HttpServlet() {
        override fun doPost(request: HttpServletRequest, response: HttpServletResponse) {
            val session = request.coatroom
            when (request.pathInfo.removePrefix("/hasty").removePrefix("/away")) {
                "/login" -> session.login("alice")
                "/who" -> response.writer.print(session.principal?.name)
                "/add" -> response.writer.print(session.add("n", 1))
                "/long" -> {
                    session.set("a", 1)
                    response.outputStream.write(ByteArray(100_000))
                }
                "/late" -> {
                    response.flushBuffer()
                    session.set("a", 1)
                }
                "/fails" -> {
                    session.add("n", 1)
                    response.sendError(HttpServletResponse.SC_BAD_GATEWAY)
                }
                "/throws" -> {
                    session.add("n", 1)
                    error("of the handler")
                }
                "/moved" -> {
                    session.login("bob")
                    response.sendRedirect("/who")
                }
                "/admin" -> session.requireRole("admin")
                "/not-addable" -> {
                    session.set("n", "text")
                    session.add("n", 1)
                }
            }
        }
    }

    @BeforeEach
    fun start() {
        tomcat.setBaseDir("$folder")
        tomcat.setPort(0)
        tomcat.connector.setProperty("address", "127.0.0.1")
        val context = tomcat.addContext("", "$folder")
        for ((name, covers) in listOf("hasty" to hasty, "away" to away, "coatroom" to coatroom)) {
            context.addFilterDef(FilterDef().apply {
                filterName = name
                filter = CoatroomFilter(covers)
            })
            context.addFilterMap(FilterMap().apply {
                filterName = name
                addURLPattern(if (covers === coatroom) "/*" else "/$name/*")
            })
        }
        Tomcat.addServlet(context, "handlers", Handlers())
        context.addServletMappingDecoded("/*", "handlers")
        tomcat.start()
    }

    @AfterEach
    fun stop() {
        tomcat.stop()
        tomcat.destroy()
        listOf(coatroom, hasty, away).forEach(Coatroom::close)
    }

    private fun post(path: String, cookie: String? = null): HttpResponse<String> {
        val request = HttpRequest.newBuilder(URI("http://127.0.0.1:${tomcat.connector.localPort}$path"))
        cookie?.let { request.header("Cookie", it) }
        return HttpClient.newHttpClient().send(request.POST(HttpRequest.BodyPublishers.noBody()).build(), HttpResponse.BodyHandlers.ofString())
    }

    private fun HttpResponse<*>.cookies() = headers().allValues("Set-Cookie").map { it.substringBefore(';') }

    @Test
    fun `a login is known to the next request`() {
        val login = post("/login")
        assertEquals(listOf("no-store"), login.headers().allValues("Cache-Control"))
        assertEquals("alice", post("/who", login.cookies().single()).body())
        assertEquals("null", post("/who").body())
    }

    @Test
    fun `a long body and a redirect carry the cookie in their head`() {
        assertEquals(1, post("/long").cookies().size)
        val moved = post("/moved")
        assertEquals(302 to 1, moved.statusCode() to moved.cookies().size)
    }

    @Test
    fun `a response of status 500 and above acknowledges nothing, whoever gave it`() {
        val first = post("/add").cookies().single()
        assertEquals(listOf(502, 500), listOf("/fails", "/throws").map { post(it, first).statusCode() })
        assertEquals("2", post("/add", first).body())
    }

    // spec: WRITE-19 dc98
    @Test
    fun `a servlet that throws spares no session that is over`() {
        val cookie = post("/hasty/login").cookies().single()
        assertEquals(500, post("/hasty/throws", cookie).statusCode())
        val after = runBlocking { hasty.exchange(Request(cookie)) { } }
        assertEquals(emptyList<String>(), after.head.trace.written)
    }

    @Test
    fun `a refusal becomes the status it names`() {
        assertEquals(401, post("/admin").statusCode())
        val alice = post("/login").cookies().single()
        assertEquals(listOf(403, 409), listOf("/admin", "/not-addable").map { post(it, alice).statusCode() })
    }

    // spec: HTTP-3 779a
    @Test
    fun `a store that cannot answer is 503 to be tried again and kept by nobody`() {
        val refused = post("/away/who", post("/login").cookies().single())
        assertEquals(503 to emptyList<String>(), refused.statusCode() to refused.cookies())
        val headers = listOf("Cache-Control", "Retry-After").map { refused.headers().allValues(it) }
        assertEquals(listOf(listOf("no-store"), listOf("1")), headers)
    }

    @Test
    fun `a change after the head is gone is not lost in silence`() {
        val outcome = runCatching { post("/late") }
        assertTrue(outcome.isFailure || outcome.getOrThrow().cookies().isEmpty())
    }
}
