package coatroom.spring

import coatroom.Coatroom
import coatroom.Concurrency
import coatroom.Cookies
import coatroom.Keys
import coatroom.Policy
import coatroom.Session
import coatroom.Store
import coatroom.servlet.CoatroomFilter
import coatroom.servlet.coatroom
import jakarta.servlet.http.HttpServletRequest
import kotlinx.coroutines.runBlocking
import org.springframework.beans.factory.ObjectProvider
import org.springframework.boot.autoconfigure.AutoConfiguration
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean
import org.springframework.boot.autoconfigure.condition.ConditionalOnWebApplication
import org.springframework.boot.context.properties.ConfigurationProperties
import org.springframework.boot.context.properties.EnableConfigurationProperties
import org.springframework.boot.web.servlet.FilterRegistrationBean
import org.springframework.context.annotation.Bean
import org.springframework.core.MethodParameter
import org.springframework.web.bind.support.WebDataBinderFactory
import org.springframework.web.context.request.NativeWebRequest
import org.springframework.web.method.support.HandlerMethodArgumentResolver
import org.springframework.web.method.support.ModelAndViewContainer
import org.springframework.web.servlet.config.annotation.WebMvcConfigurer
import java.time.Duration
import kotlin.time.toKotlinDuration

/** After the filters that change nothing, before those that ask who it is (Spring Security stands at -100). */
private const val ORDER = -200

/**
 * `coatroom.*` of the application's properties. What goes beyond them is said by a [Policy] or a [Coatroom] of one's own.
 *
 * @property store `memory`, `sqlite:PATH`, `file:PATH`, `redis://...` or `postgres://...`
 * @property keys the key ring; `COATROOM_KEYS` or `COATROOM_KEYS_FILE` in the environment unless given
 * @property announce whether the store also holds a feed of endings, for services that check access tokens
 */
@ConfigurationProperties("coatroom")
public data class CoatroomProperties(
    public val store: String?,
    public val keys: String?,
    public val idle: Duration?,
    public val absolute: Duration?,
    public val rotateEvery: Duration?,
    public val concurrency: Concurrency?,
    public val sealed: Boolean?,
    public val dangerPlainHttp: Boolean?,
    public val announce: Boolean?,
)

/** A [Coatroom], the filter that gives every request its [Session], and `Session` as an argument of handlers. */
@AutoConfiguration
@ConditionalOnWebApplication(type = ConditionalOnWebApplication.Type.SERVLET)
@EnableConfigurationProperties(CoatroomProperties::class)
public open class CoatroomAutoConfiguration : WebMvcConfigurer {
    /** The policy that the properties come to. */
    @Bean
    @ConditionalOnMissingBean
    public open fun coatroomPolicy(given: CoatroomProperties): Policy = Policy(
        idle = given.idle?.toKotlinDuration(),
        absolute = given.absolute?.toKotlinDuration(),
        rotateEvery = given.rotateEvery?.toKotlinDuration(),
        concurrency = given.concurrency ?: Concurrency.MERGE,
        sealed = given.sealed ?: false,
        cookies = Cookies(dangerPlainHttp = given.dangerPlainHttp ?: false),
    )

    /** Over a [Store] of the application if there is one, else over the store that the properties name. */
    @Bean
    @ConditionalOnMissingBean
    public open fun coatroom(given: CoatroomProperties, policy: Policy, own: ObjectProvider<Store>): Coatroom {
        val keys = given.keys?.let(::Keys) ?: Keys.fromEnvironment()
        own.ifAvailable?.let { return Coatroom(it, keys, policy) }
        val store = requireNotNull(given.store) { "set coatroom.store, or make a bean of type coatroom.Store" }
        val announces = given.announce ?: false
        return Coatroom(store, keys, policy, announce = announces).also { runBlocking { it.migrate() } }
    }

    /** The filter, for every path. */
    @Bean
    public open fun coatroomFilter(coatroom: Coatroom): FilterRegistrationBean<CoatroomFilter> =
        FilterRegistrationBean(CoatroomFilter(coatroom)).apply { order = ORDER }

    override fun addArgumentResolvers(resolvers: MutableList<HandlerMethodArgumentResolver>) {
        resolvers += SessionArgument
    }
}

private object SessionArgument : HandlerMethodArgumentResolver {
    override fun supportsParameter(parameter: MethodParameter): Boolean = parameter.parameterType == Session::class.java

    override fun resolveArgument(
        parameter: MethodParameter,
        container: ModelAndViewContainer?,
        request: NativeWebRequest,
        binder: WebDataBinderFactory?,
    ): Any = checkNotNull(request.getNativeRequest(HttpServletRequest::class.java)).coatroom
}
