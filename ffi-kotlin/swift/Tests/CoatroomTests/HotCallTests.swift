import CoatroomBorder
import Foundation
import Testing

@testable import Coatroom

/// What the hand-written half reads of the border is what the generated one does.
@Suite struct HotCalls {
    let border: CoatroomBorder.Coatroom
    init() throws {
        border = try CoatroomBorder.Coatroom(
            config: Config(store: "memory", keys: testKeys, policy: CoatroomBorder.Policy()), clock: nil)
    }

    private func expectSame(_ sight: Sight, _ view: View) {
        #expect(sight.items.map { String(decoding: $0.0, as: UTF8.self) } == view.data.map(\.key))
        #expect(sight.items.map { $0.1.map { Data($0) } } == view.data.map(\.value))
        for item in view.data { #expect(sight.value(of: item.key).map { Data($0) } == item.value) }
        #expect(sight.value(of: "no such key") == nil)
        #expect(sight.person == view.person)
        #expect(sight.trace == view.trace)
        #expect(sight.came.sum == view.sum && sight.came.rotation == view.rotation)
    }

    @Test func aViewIsReadTheSame() throws {
        let (exchange, step) = try border.beginFast("", serial: false)
        guard case .open(let empty) = step else { throw Unknown("a step over a store of this library") }
        expectSame(empty, try exchange.apply(edits: Data()))
        var batch = Batch()
        batch.add("set") { $0.text("größe"); $0.data([0x61, 0x4c]) }
        batch.add("set") { $0.text(""); $0.data([0xf6]) }
        expectSame(try exchange.applyFast(batch.take()), try exchange.apply(edits: Data()))
        batch.add("login") { writer in
            writer.text("ada")
            writer.list(2)
            ["buyer", "admin"].forEach { writer.text($0) }
            writer.int(2)
        }
        batch.add("rotate")
        batch.add("add") { $0.text("n"); $0.int(-300) }
        let view = try exchange.apply(edits: Data(batch.take()))
        #expect(view.sum == -300 && view.rotation != nil && view.person?.roles.count == 2)
        batch.add("rotate")
        batch.add("add") { $0.text("n"); $0.int(0) }
        expectSame(try exchange.applyFast(batch.take()), view)
    }

    @Test func aResponseHeadIsReadTheSame() throws {
        let (exchange, _) = try border.beginFast("", serial: false)
        var batch = Batch()
        batch.add("login") { $0.text("ada"); $0.list(0); $0.int(1) }
        guard case .closed(let settled) = try exchange.commitFast(batch.take(), Head(vary: "Accept")) else {
            throw Unknown("a step over a store of this library")
        }
        #expect(settled.setCookies.count == 1 && settled.vary == "Accept, Cookie")
        #expect(settled.cacheControl == "no-store" && settled.trace.events.map(\.name).contains("created"))
        let cookie = String(settled.setCookies[0].prefix { $0 != ";" })
        let (read, step) = try border.beginFast(cookie, serial: false)
        guard case .open(let sight) = step else { throw Unknown("a step over a store of this library") }
        #expect(sight.person?.name == "ada" && sight.trace.handle == settled.trace.handle)
        expectSame(sight, try read.apply(edits: Data()))
    }

    @Test func whatWasLookedAtIsToldOnce() {
        let keys = (0 ..< 20).map { "key \($0)" } + ["caf\u{e9}", "cafe\u{301}"]
        var (once, often) = (Batch(), Batch())
        for key in keys { once.read(key) }
        for key in keys + keys { often.read(key) }
        for batch in [once, often] { #expect(!batch.isEmpty) }
        let told = once.take()
        #expect(told.first == 0x96 && often.take() == told)
        often.read("key 0")
        often.read("key 19")
        #expect(often.isEmpty)
        often.strict()
        often.read("key 0")
        #expect(often.take().first == 0x82)
    }
}
