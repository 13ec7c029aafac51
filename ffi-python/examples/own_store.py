"""A store of one's own, over the client that the application has already: `redis.asyncio`.

Each method is one script, so that comparing, writing and answering are one step. The index of a principal is one hash:
its sessions with the time by which each is over, and when all of them were revoked last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from coatroom.store import Conflict, Done, Entered, Entry, Full, Swap, Swapped
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

DAY = 86_400_000

SWAP = """
local stored = redis.call('GET', KEYS[1])
local stamp = stored and string.sub(stored, 3, 18)
if stamp ~= (ARGV[1] ~= '' and ARGV[1]) then return {0, stored} end
if ARGV[2] == '' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return {1}
"""

ENTER = """
local handle, over, now, most, names, keep = unpack(ARGV)
local listed, others, revoked, is_new = redis.call('HGETALL', KEYS[1]), {}, '0', true
for at = 1, #listed, 2 do
    if listed[at] == 'revoked' then
        revoked = listed[at + 1]
    elseif listed[at] == handle then
        is_new = false
    elseif tonumber(listed[at + 1]) > tonumber(now) then
        table.insert(others, {tonumber(listed[at + 1]), listed[at]})
    end
end
if most ~= '' and #others >= tonumber(most) then return {'full'} end
table.sort(others, function(one, other) return one[1] < other[1] end)
local before = {}
for at = 1, math.min(#others, tonumber(names)) do before[at] = others[at][2] end
redis.call('HSET', KEYS[1], handle, over)
redis.call('PEXPIRE', KEYS[1], keep, 'NX')
redis.call('PEXPIRE', KEYS[1], keep, 'GT')
return {revoked, #others + 1, is_new and before}
"""

BAR = """
local moment, last = ARGV[1], redis.call('HGET', KEYS[1], 'revoked')
if last and tonumber(last) >= tonumber(moment) then moment = string.format('%.0f', tonumber(last) + 1) end
redis.call('HSET', KEYS[1], 'revoked', moment)
redis.call('PEXPIRE', KEYS[1], ARGV[2], 'NX')
redis.call('PEXPIRE', KEYS[1], ARGV[2], 'GT')
return moment
"""


class RedisStore:
    """Records and index in Redis 7 or later, or in Valkey."""

    def __init__(self, address: str, prefix: str = "session:") -> None:
        # A swap is sent once: the client's own retries are off. No call takes longer than two seconds. Where there are
        # more requests than connections they wait for one; the client's usual pool would raise.
        limits = {"socket_timeout": 2, "socket_connect_timeout": 2, "retry": Retry(NoBackoff(), 0)}
        pool = BlockingConnectionPool.from_url(address, max_connections=50, timeout=2, **limits)
        self.redis = Redis.from_pool(pool)
        self.prefix = prefix
        self.compare_and_swap = self.redis.register_script(SWAP)
        self.enter_into_index = self.redis.register_script(ENTER)
        self.bar_logins = self.redis.register_script(BAR)

    async def load(self, handle: str) -> bytes | None:
        return cast("bytes | None", await self.redis.get(f"{self.prefix}{handle}"))

    async def swap(self, swap: Swap) -> Swapped:
        key = f"{self.prefix}{swap.handle}"
        done, *stored = await self.compare_and_swap([key], [swap.expected or b"", swap.record or b"", swap.keep])
        return Done() if done else Conflict(stored[0])

    async def enter(self, entry: Entry) -> Entered | Full:
        keep = max(entry.until - entry.now, DAY)
        most = "" if entry.at_most is None else entry.at_most
        answer: list[Any] = await self.enter_into_index(
            [self.index(entry.principal)], [entry.handle, entry.until, entry.now, most, entry.names, keep]
        )
        if len(answer) == 1:
            return Full()
        revoked, count, before = answer
        return Entered(int(revoked), count, before=None if before is None else [handle.decode() for handle in before])

    async def sessions(self, principal: str) -> Sequence[str]:
        names = cast("list[bytes]", await self.redis.hkeys(self.index(principal)))
        return [name.decode() for name in names if name != b"revoked"]

    async def leave(self, principal: str, handle: str) -> None:
        await self.redis.hdel(self.index(principal), handle)

    async def bar(self, principal: str, now: int) -> int:
        return int(await self.bar_logins([self.index(principal)], [now, DAY]))

    def index(self, principal: str) -> str:
        return f"{self.prefix}of:{principal}"

    async def aclose(self) -> None:
        await self.redis.aclose()
