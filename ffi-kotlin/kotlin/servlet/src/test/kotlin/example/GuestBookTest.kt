package example

import coatroom.Coatroom
import coatroom.Keys
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse

/** The example runs. */
internal class GuestBookTest {
    @Test
    fun `the guest book knows who logged in`() {
        val tomcat = serve(Coatroom("memory", Keys.generate()), 0)
        try {
            val place = "http://127.0.0.1:${tomcat.connector.localPort}/"
            fun send(request: HttpRequest.Builder) =
                HttpClient.newHttpClient().send(request.build(), HttpResponse.BodyHandlers.ofString())
            val login = send(HttpRequest.newBuilder(URI("$place?user=ada")).POST(HttpRequest.BodyPublishers.noBody()))
            val cookie = login.headers().allValues("Set-Cookie").single().substringBefore(';')
            assertEquals("ada, visit 1", send(HttpRequest.newBuilder(URI(place)).header("Cookie", cookie)).body().trim())
            assertEquals("nobody, visit 1", send(HttpRequest.newBuilder(URI(place))).body().trim())
        } finally {
            tomcat.stop()
            tomcat.destroy()
        }
    }
}
