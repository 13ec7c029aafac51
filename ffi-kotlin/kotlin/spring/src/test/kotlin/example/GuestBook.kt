package example

import coatroom.Session
import org.springframework.boot.autoconfigure.SpringBootApplication
import org.springframework.boot.builder.SpringApplicationBuilder
import org.springframework.boot.web.servlet.context.ServletWebServerApplicationContext
import org.springframework.web.bind.annotation.GetMapping
import org.springframework.web.bind.annotation.PostMapping
import org.springframework.web.bind.annotation.RequestParam
import org.springframework.web.bind.annotation.RestController

/** A guest book of one line: `GET /` says who is there, `POST /login?user=ada` logs in. */
@SpringBootApplication
@RestController
internal open class GuestBook {
    @GetMapping("/")
    fun read(session: Session): String = "${session.principal?.name ?: "nobody"}, visit ${session.add("visits", 1)}\n"

    @PostMapping("/login")
    fun login(session: Session, @RequestParam user: String): String = session.login(user).let { "hello $user\n" }
}

/** `coatroom.keys` stays away from here: the starter reads `COATROOM_KEYS` by itself. */
internal fun serve(port: Int, vararg more: String): ServletWebServerApplicationContext =
    SpringApplicationBuilder(GuestBook::class.java)
        .properties(
            "coatroom.store=memory", "server.address=127.0.0.1", "server.port=$port", "spring.main.banner-mode=off",
            "logging.level.root=off",
        )
        .properties(*more)
        .run() as ServletWebServerApplicationContext

/** `COATROOM_KEYS=... ffi-kotlin/kotlin/example spring [PORT]` */
internal fun main(arguments: Array<String>) {
    serve(arguments.firstOrNull()?.toInt() ?: 8000)
}
