import coatroom.Coatroom
import coatroom.Keys
import coatroom.Request
import kotlinx.coroutines.runBlocking

fun main() = runBlocking {
    Coatroom("memory", Keys.generate()).use { coatroom ->
        val login = coatroom.exchange(Request(null, "POST")) { session ->
            session.set("cart", listOf("scarf"))
            session.login("ada")
        }
        val cookie = login.head.setCookies.single().substringBefore(';')
        val seen = coatroom.exchange(Request(cookie)) { session -> session.principal?.name to session.get<List<String>>("cart") }
        check(seen.value == ("ada" to listOf("scarf"))) { "${seen.value}" }
        println("a consumer of the packed jars: ${seen.value}")
    }
}
