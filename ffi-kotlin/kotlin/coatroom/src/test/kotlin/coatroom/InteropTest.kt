package coatroom

import kotlinx.coroutines.runBlocking
import org.jose4j.jwa.AlgorithmConstraints
import org.jose4j.jwa.AlgorithmConstraints.ConstraintType.PERMIT
import org.jose4j.jwk.JsonWebKeySet
import org.jose4j.jwk.OctetKeyPairJsonWebKey
import org.jose4j.jws.JsonWebSignature
import org.jose4j.jwt.JwtClaims
import org.jose4j.jwt.consumer.JwtConsumerBuilder
import org.jose4j.keys.HmacKey
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.EnumSource
import java.security.Key
import java.util.Base64

private const val SHOP = "https://shop.example"

/** Our tokens read by jose4j, and its tokens by us: neither knows of the other. */
internal class InteropTest {
    private val secret = Base64.getUrlEncoder().withoutPadding().encodeToString("obviously a test key, not a secr".toByteArray())

    private fun issuer(algorithm: Algorithm) = Issuer(SHOP, "orders", "key-1:${algorithm.word}:$secret")

    private fun verifier(algorithm: Algorithm): Verifier {
        val shared = VerifierKeys.shared("key-1:HS256:$secret")
        val keys = if (algorithm == Algorithm.HS256) shared else VerifierKeys.public(issuer(algorithm).jwks)
        return Verifier(SHOP, "orders", keys)
    }

    /** The keys that jose4j signs and verifies with. */
    private fun theirs(algorithm: Algorithm): Pair<Key, Key> {
        if (algorithm == Algorithm.HS256) return HmacKey(Base64.getUrlDecoder().decode(secret)).let { it to it }
        val public = JsonWebKeySet(issuer(algorithm).jwks).jsonWebKeys.single() as OctetKeyPairJsonWebKey
        val pair = public.toParams(org.jose4j.jwk.JsonWebKey.OutputControlLevel.PUBLIC_ONLY) + ("d" to secret)
        return OctetKeyPairJsonWebKey(pair).privateKey to public.key
    }

    // spec: TOKEN-1 6e31, TOKEN-2 9702
    @ParameterizedTest
    @EnumSource(Algorithm::class)
    fun `what we issue, jose4j accepts`(algorithm: Algorithm) = runBlocking {
        Coatroom("memory", KEYS).use { coatroom ->
            val browser = Browser(coatroom)
            browser.send { it.login("ada", listOf("admin", "staff")) }
            val token = browser.send { issuer(algorithm).issue(it) }
            val consumer = JwtConsumerBuilder().setExpectedIssuer(SHOP).setExpectedAudience("orders").setRequireSubject()
                .setRequireExpirationTime().setRequireNotBefore().setRequireJwtId().setExpectedType(true, "at+jwt")
                .setJwsAlgorithmConstraints(AlgorithmConstraints(PERMIT, algorithm.word))
                .setVerificationKey(theirs(algorithm).second).build()
            val claims = consumer.processToClaims(token.text)
            assertEquals("ada", claims.subject)
            assertEquals(listOf("admin", "staff"), claims.getStringListClaimValue("roles"))
            assertEquals(token.expiresAt.epochSecond, claims.expirationTime.value)
        }
    }

    // spec: TOKEN-4 0830
    @ParameterizedTest
    @EnumSource(Algorithm::class)
    fun `what jose4j makes, we accept`(algorithm: Algorithm) {
        fun made(type: String): String {
            val claims = JwtClaims().apply {
                issuer = SHOP
                setAudience("orders")
                subject = "ada"
                jwtId = "token-1"
                setIssuedAtToNow()
                setNotBeforeMinutesInThePast(0f)
                setExpirationTimeMinutesInTheFuture(5f)
                setClaim("sid", "AAECAwQFBgcICQoL")
                setClaim("level", 1)
                setStringListClaim("roles", "admin")
            }
            return JsonWebSignature().apply {
                payload = claims.toJson()
                keyIdHeaderValue = "key-1"
                algorithmHeaderValue = algorithm.word
                setHeader("typ", type)
                key = theirs(algorithm).first
            }.compactSerialization
        }
        val claims = verifier(algorithm).verify(made("at+jwt"))
        assertEquals("ada" to setOf("admin"), claims.principal to claims.roles)
        assertThrows<BadTokenException> { verifier(algorithm).verify(made("JWT")) }
    }
}
