package example

import coatroom.Coatroom
import coatroom.Keys
import coatroom.servlet.CoatroomFilter
import coatroom.servlet.coatroom
import jakarta.servlet.http.HttpServlet
import jakarta.servlet.http.HttpServletRequest
import jakarta.servlet.http.HttpServletResponse
import org.apache.catalina.startup.Tomcat
import org.apache.tomcat.util.descriptor.web.FilterDef
import org.apache.tomcat.util.descriptor.web.FilterMap

/** A guest book of one line: `GET /` says who is there, `POST /?user=ada` logs in. */
internal class GuestBook : HttpServlet() {
    override fun doGet(request: HttpServletRequest, response: HttpServletResponse) {
        val session = request.coatroom
        response.writer.println("${session.principal?.name ?: "nobody"}, visit ${session.add("visits", 1)}")
    }

    override fun doPost(request: HttpServletRequest, response: HttpServletResponse) {
        request.coatroom.login(request.getParameter("user"))
        response.sendRedirect("/")
    }
}

internal fun serve(coatroom: Coatroom, port: Int): Tomcat = Tomcat().apply {
    setBaseDir(System.getProperty("java.io.tmpdir"))
    setPort(port)
    connector.setProperty("address", "127.0.0.1")
    val context = addContext("", null)
    context.addFilterDef(FilterDef().apply {
        filterName = "coatroom"
        filter = CoatroomFilter(coatroom)
    })
    context.addFilterMap(FilterMap().apply {
        filterName = "coatroom"
        addURLPattern("/*")
    })
    Tomcat.addServlet(context, "guest book", GuestBook())
    context.addServletMappingDecoded("/", "guest book")
    start()
}

/** `ffi-kotlin/kotlin/example servlet [PORT]` */
internal fun main(arguments: Array<String>) {
    val coatroom = Coatroom("memory", Keys.generate())
    serve(coatroom, arguments.firstOrNull()?.toInt() ?: 8000).server.await()
}
