package coatroom.servlet

import coatroom.Coatroom
import coatroom.Issuer
import coatroom.Keys
import coatroom.Revocations
import coatroom.Verifier
import coatroom.VerifierKeys
import jakarta.servlet.Filter
import jakarta.servlet.http.HttpServlet
import jakarta.servlet.http.HttpServletRequest
import jakarta.servlet.http.HttpServletResponse
import kotlinx.coroutines.runBlocking
import org.apache.catalina.startup.Tomcat
import org.apache.tomcat.util.descriptor.web.FilterDef
import org.apache.tomcat.util.descriptor.web.FilterMap
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.BeforeEach
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import java.nio.file.Path

private const val SHOP = "https://shop.example"

/** Tokens from the application that has the sessions, to one that has none, under Tomcat. */
internal class TokensTest {
    @TempDir
    lateinit var folder: Path
    private val coatroom = Coatroom("memory", Keys("1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE"), announce = true)
    private val issuer = Issuer(SHOP, "orders", "ed-1:EdDSA:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3I")
    private val revocations = Revocations(coatroom, every = null)
    private val verifier = Verifier(SHOP, "orders", VerifierKeys.public(issuer.jwks), revocations = revocations)
    private val tomcat = Tomcat()

    private class Handlers : HttpServlet() {
        override fun service(request: HttpServletRequest, response: HttpServletResponse) {
            when (request.servletPath) {
                "/login" -> request.coatroom.login("ada", listOf("buyer"))
                "/logout" -> request.coatroom.logout()
                else -> response.writer.print("${request.claims.principal} ${request.claims.roles}")
            }
        }
    }

    @BeforeEach
    fun start() {
        tomcat.setBaseDir("$folder")
        tomcat.setPort(0)
        tomcat.connector.setProperty("address", "127.0.0.1")
        val context = tomcat.addContext("", "$folder")
        val filters = listOf<Triple<String, Filter, List<String>>>(
            Triple("sessions", CoatroomFilter(coatroom), listOf("/login", "/logout", "/token", "/.well-known/*")),
            Triple("tokens", TokenFilter(verifier), listOf("/orders")),
            Triple("admins", TokenFilter(verifier, role = "admin"), listOf("/admin")),
        )
        for ((name, covers, paths) in filters) {
            context.addFilterDef(FilterDef().apply {
                filterName = name
                filter = covers
            })
            context.addFilterMap(FilterMap().apply {
                filterName = name
                paths.forEach(::addURLPattern)
            })
        }
        Tomcat.addServlet(context, "token", TokenServlet(issuer))
        Tomcat.addServlet(context, "keys", KeysServlet(issuer))
        Tomcat.addServlet(context, "handlers", Handlers())
        context.addServletMappingDecoded(Issuer.TOKEN_PATH, "token")
        context.addServletMappingDecoded(Issuer.KEYS_PATH, "keys")
        for (path in listOf("/login", "/logout", "/orders", "/admin")) context.addServletMappingDecoded(path, "handlers")
        tomcat.start()
    }

    @AfterEach
    fun stop() {
        tomcat.stop()
        tomcat.destroy()
        listOf(revocations, coatroom).forEach(AutoCloseable::close)
    }

    private fun send(method: String, path: String, vararg headers: String): HttpResponse<String> {
        val request = HttpRequest.newBuilder(URI("http://127.0.0.1:${tomcat.connector.localPort}$path"))
        if (headers.isNotEmpty()) request.headers(*headers)
        val built = request.method(method, HttpRequest.BodyPublishers.noBody()).build()
        return HttpClient.newHttpClient().send(built, HttpResponse.BodyHandlers.ofString())
    }

    private fun HttpResponse<*>.header(name: String) = headers().allValues(name)

    // spec: TOKEN-3 c1a8, TOKEN-12 c154
    @Test
    fun `a token is had for the session, used without it, and dead after the logout`() {
        runBlocking { revocations.pull() }
        assertEquals(401, send("POST", "/token").statusCode())
        val cookie = send("POST", "/login").header("Set-Cookie").single().substringBefore(';')
        val made = send("POST", "/token", "Cookie", cookie)
        assertEquals(listOf("no-store"), made.header("Cache-Control"))
        val bearer = "Bearer " + made.body().substringAfter("\"access_token\": \"").substringBefore('"')
        assertEquals("ada [buyer]", send("GET", "/orders", "Authorization", bearer).body())
        assertEquals(403, send("GET", "/admin", "Authorization", bearer).statusCode())
        send("POST", "/logout", "Cookie", cookie)
        runBlocking { revocations.pull() }
        val refused = send("GET", "/orders", "Authorization", bearer)
        assertEquals(401, refused.statusCode())
        assertEquals(listOf("Bearer error=\"invalid_token\""), refused.header("WWW-Authenticate"))
        assertEquals(listOf("no-store"), refused.header("Cache-Control"))
        assertEquals(listOf("Bearer"), send("GET", "/orders").header("WWW-Authenticate"))
    }

    // spec: TOKEN-9 8191
    @Test
    fun `the public keys are for anybody`() {
        val keys = send("GET", "/.well-known/jwks.json")
        assertEquals(issuer.jwks to listOf("public, max-age=300"), keys.body() to keys.header("Cache-Control"))
        assertEquals(405, send("GET", "/token").statusCode())
    }
}
