// swift-tools-version: 6.0

import Foundation
import PackageDescription

// `scripts/swift-border` fills this folder from the crate in `ffi-kotlin`: header, generated Swift, native library.
let library = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Generated/lib").path

let package = Package(
    name: "coatroom",
    platforms: [.macOS(.v13), .iOS(.v16)],
    products: [
        .library(name: "Coatroom", targets: ["Coatroom"])
    ],
    targets: [
        .systemLibrary(name: "CoatroomFFI", path: "Generated/CoatroomFFI"),
        // Generated for the older language mode: its helpers for foreign traits take closures that Swift 6 wants
        // marked.
        .target(
            name: "CoatroomBorder",
            dependencies: ["CoatroomFFI"],
            path: "Generated/CoatroomBorder",
            swiftSettings: [.swiftLanguageMode(.v5), .unsafeFlags(["-suppress-warnings"])],
            linkerSettings: [.unsafeFlags(["-L\(library)", "-Xlinker", "-rpath", "-Xlinker", library])]
        ),
        .target(name: "Coatroom", dependencies: ["CoatroomBorder", "CoatroomFFI"]),
        .executableTarget(name: "Service", dependencies: ["Coatroom"], path: "Examples/Service"),
        .executableTarget(name: "Measure", dependencies: ["Coatroom"], path: "Examples/Measure"),
        .testTarget(name: "CoatroomTests", dependencies: ["Coatroom", "CoatroomBorder"]),
    ],
    swiftLanguageModes: [.v6]
)
