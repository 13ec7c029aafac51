package coatroom.spring

import coatroom.Session
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import org.springframework.beans.factory.annotation.Autowired
import org.springframework.boot.autoconfigure.SpringBootApplication
import org.springframework.boot.test.context.SpringBootTest
import org.springframework.boot.test.web.client.TestRestTemplate
import org.springframework.http.HttpEntity
import org.springframework.http.HttpHeaders
import org.springframework.http.HttpStatus
import org.springframework.http.ResponseEntity
import org.springframework.web.bind.annotation.PostMapping
import org.springframework.web.bind.annotation.RequestParam
import org.springframework.web.bind.annotation.RestController

/** A running application: `coatroom.store` and `coatroom.keys` are all that it has to say. */
@SpringBootApplication
internal open class Shop

@RestController
internal class Handlers {
    @PostMapping("/login")
    fun login(session: Session, @RequestParam user: String): String = session.login(user).let { "hello $user" }

    @PostMapping("/visit")
    fun visit(session: Session): String = "${session.principal?.name}: ${session.add("visits", 1)}"

    @PostMapping("/admin")
    fun admin(session: Session): String = session.requireRole("admin").let { "ok" }

    @PostMapping("/fails")
    fun fails(session: Session): String = error("after ${session.add("visits", 1)}")
}

@SpringBootTest(
    classes = [Shop::class, Handlers::class],
    webEnvironment = SpringBootTest.WebEnvironment.RANDOM_PORT,
    properties = [
        "coatroom.store=memory", "coatroom.keys=1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE", "coatroom.idle=10m",
        "server.address=127.0.0.1", "logging.level.root=off", "spring.main.banner-mode=off",
    ],
)
internal class StarterTest {
    @Autowired
    private lateinit var client: TestRestTemplate

    private fun post(path: String, cookie: String? = null): ResponseEntity<String> {
        val headers = HttpHeaders().apply { cookie?.let { add(HttpHeaders.COOKIE, it) } }
        return client.postForEntity(path, HttpEntity<Void>(headers), String::class.java)
    }

    private fun ResponseEntity<String>.cookie() = headers.getValue(HttpHeaders.SET_COOKIE).single().substringBefore(';')

    @Test
    fun `a handler takes the session as an argument, and the next request knows who logged in`() {
        val login = post("/login?user=ada").cookie()
        assertEquals("ada: 1", post("/visit", login).body)
        assertEquals("ada: 2", post("/visit", login).body)
        assertEquals("null: 1", post("/visit").body)
    }

    @Test
    fun `a refusal becomes its status, and an error of the handler writes nothing`() {
        val login = post("/login?user=ada").cookie()
        assertEquals(HttpStatus.FORBIDDEN, post("/admin", login).statusCode)
        assertEquals(HttpStatus.INTERNAL_SERVER_ERROR, post("/fails", login).statusCode)
        assertEquals("ada: 1", post("/visit", login).body)
    }
}
