import Coatroom
import Foundation
import Testing

@Suite struct Values {
    /// Each value that the vectors set, and each that they say is none.
    @Test func theSameValuesHaveTheSameBytesInEveryLanguage() throws {
        let file = try JSONSerialization.jsonObject(with: Data(Vectors.read("values.json").utf8))
        let cases = try #require((file as? [String: Any])?["cases"] as? [[String: Any]])
        var (kept, refused) = (0, 0)
        for step in cases.flatMap({ $0["steps"] as? [[String: Any]] ?? [] }) where step["call"] as? String == "edits" {
            let isRefused = (step["expect"] as? [String: Any])?["error"] != nil
            for edit in (step["args"] as? [String: Any])?["edits"] as? [[String: Any]] ?? [] {
                guard let text = edit["value"] as? String else { continue }
                let bytes = try unhex(text)
                if isRefused {
                    refused += 1
                    #expect(throws: ValueError.self, "\(text)") { try Value(cbor: bytes) }
                } else {
                    kept += 1
                    #expect(try hex(Value(cbor: bytes).cbor()) == text)
                }
            }
        }
        #expect(kept > 40 && refused > 10)
    }

    struct Cart: Codable, Equatable {
        enum Size: String, Codable { case small, large }
        struct Item: Codable, Equatable {
            let sku: String
            let count: Int
            let price: Double
            let size: Size?
        }
        var items: [Item]
        var notes: [String: String]
        let picture: Data
        let owner: UUID
        let page: URL
        let made: Date
        let gift: Bool
    }

    @Test func whatIsCodableComesBackAsItWas() async throws {
        let items = [
            Cart.Item(sku: "coat", count: 1, price: 99.5, size: .large),
            Cart.Item(sku: "hat", count: 2, price: 5, size: nil),
        ]
        let cart = Cart(
            items: items, notes: ["größe": "L", "": "empty"], picture: Data([0, 255]), owner: UUID(),
            page: URL(string: "https://example.org/a?b=c")!, made: Date(timeIntervalSinceReferenceDate: 7.25),
            gift: true)
        let sessions = try Sessions(store: "memory", keys: testKeys)
        var jar = Jar()
        try await sessions.visit(&jar) { try $0.set("cart", to: cart) }
        #expect(try await sessions.visit(&jar) { try $0.get("cart", as: Cart.self) } == cart)
        await #expect(throws: DecodingError.self) {
            try await sessions.visit(&jar) { try $0.get("cart", as: Int.self) }
        }
    }

    @Test func aValueIsShownAsWhatItIs() async throws {
        let sessions = try Sessions(store: "memory", keys: testKeys)
        let value = Value.map(["a": .list([.int(1), .float(1), .null, .bytes(Data([1]))]), "b": .bool(true)])
        var jar = Jar()
        try await sessions.visit(&jar) { try $0.set("v", to: value) }
        #expect(try await sessions.visit(&jar) { try $0.get("v", as: Value.self) } == value)
    }

    @Test func whatNoSessionCanHoldIsRefused() {
        #expect(throws: ValueError.notFinite) { try Value.float(.infinity).cbor() }
        let nest = { (levels: Int) in (0 ..< levels).reduce(Value.null) { inner, _ in .list([inner]) } }
        #expect(throws: Never.self) { try nest(32).cbor() }
        #expect(throws: ValueError.tooDeep) { try nest(33).cbor() }
        // "é" in one code point and in two: one text to Swift, two keys in the bytes.
        let twice = Data([0xa2, 0x62, 0xc3, 0xa9, 0x01, 0x63, 0x65, 0xcc, 0x81, 0x02])
        #expect(throws: ValueError.sameKeys) { try Value(cbor: twice) }
    }

    @Test func everyFloatOfSixteenBitsIsWrittenInThreeBytes() throws {
        for bits in 0 ... UInt16.max where bits & 0x7c00 != 0x7c00 {
            let bytes = Data([0xf9, UInt8(bits >> 8), UInt8(bits & 0xff)])
            #expect(try Value(cbor: bytes).cbor() == bytes)
        }
    }

    @Test func noBytesMakeTheReaderPanic() {
        var state: UInt64 = 7
        for _ in 0 ..< 20_000 {
            let bytes = Data((0 ..< 24).map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return UInt8(truncatingIfNeeded: state >> 33)
            })
            if let value = try? Value(cbor: bytes) { #expect((try? value.cbor()) == bytes) }
        }
    }
}
