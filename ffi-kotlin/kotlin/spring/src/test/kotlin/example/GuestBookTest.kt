package example

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
        serve(0, "coatroom.keys=1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE").use { running ->
            val place = "http://127.0.0.1:${running.webServer.port}"
            fun send(request: HttpRequest.Builder) =
                HttpClient.newHttpClient().send(request.build(), HttpResponse.BodyHandlers.ofString())
            val login = HttpRequest.newBuilder(URI("$place/login?user=ada")).POST(HttpRequest.BodyPublishers.noBody())
            val cookie = send(login).headers().allValues("Set-Cookie").single().substringBefore(';')
            val read = HttpRequest.newBuilder(URI("$place/"))
            assertEquals("nobody, visit 1", send(read).body().trim())
            assertEquals("ada, visit 1", send(read.header("Cookie", cookie)).body().trim())
        }
    }
}
