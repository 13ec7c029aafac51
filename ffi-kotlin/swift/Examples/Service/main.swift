import Coatroom
import Foundation

// A small service on Foundation alone, and the conformance app `swift` of `tests/apps`: its README has the contract.

do {
    let options = try Options(CommandLine.arguments.dropFirst())
    if options.isWorker {
        try Server(Contract(options)).serve()
    } else {
        try supervise(options)
    }
} catch let error as Options.Wrong {
    complain(error.message)
    exit(2)
} catch {
    complain("\(error)")
    exit(1)
}
