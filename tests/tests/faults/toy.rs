//! A store by somebody else: records in Redis, the index in this process. A connection for each call.

use std::io;
use std::time::Duration;

use coatroom_core::{Entry, Handle, Loaded, Swap, Timestamp};
use coatroom_store::memory::Memory;
use coatroom_store::{Cursor, Engine, Entered, NotListed, Store, Swapped, Unavailable};
use coatroom_tests::servers::{Reply, Resp};

const SWAP: &str = "
    local found = redis.call('GET', KEYS[1])
    if (found and string.sub(found, 3, 18) or '') ~= ARGV[1] then return {0, found} end
    if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3]) end
    return {1}";

pub struct Toy {
    address: String,
    /// Sends what failed once more, which no store may do with a swap.
    sends_twice: bool,
    index: Memory,
}

impl Toy {
    pub fn at(address: &str) -> Self {
        Self { address: address.to_owned(), sends_twice: false, index: Memory::default() }
    }

    pub fn impatiently(address: &str) -> Self {
        Self { sends_twice: true, ..Self::at(address) }
    }

    fn connect(&self) -> io::Result<Resp> {
        Resp::connect_with(&self.address, Duration::from_millis(300))
    }

    fn answers(&self) -> Result<(), Unavailable> {
        let answer = self.connect().and_then(|mut connection| connection.call(&["PING"]));
        answer.map(drop).map_err(|_| Unavailable)
    }
}

impl Store for Toy {
    fn enters_with_swap(&self) -> bool {
        false
    }

    async fn load(&self, handle: Handle) -> Loaded {
        let answer = self.connect().and_then(|mut connection| connection.call(&[&b"GET"[..], handle.as_bytes()]));
        match answer {
            Ok(Reply::Bytes(record)) => Loaded::Found(record),
            Ok(Reply::Nil) => Loaded::Absent,
            _ => Loaded::Unavailable,
        }
    }

    async fn swap(&self, swap: &Swap) -> Swapped {
        let Ok(mut connection) = self.connect() else { return Swapped::Unavailable };
        let expected = swap.expected.as_ref().map_or(&[][..], |stamp| stamp.as_bytes());
        let new = swap.new.as_deref().unwrap_or_default();
        let garbage_at = swap.garbage_at.as_unix_ms().to_string();
        let words = [b"EVAL", SWAP.as_bytes(), b"1", swap.handle.as_bytes(), expected, new, garbage_at.as_bytes()];
        let mut answer = connection.call(&words);
        if answer.is_err() && self.sends_twice {
            answer = self.connect().and_then(|mut connection| connection.call(&words));
        }
        match answer {
            Ok(Reply::List(parts)) => match parts.into_iter().nth(1) {
                None => Swapped::Done,
                Some(Reply::Bytes(record)) => Swapped::Conflict(Some(record)),
                Some(_) => Swapped::Conflict(None),
            },
            _ => Swapped::Unknown,
        }
    }

    async fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
        self.answers()?;
        Engine::enter(&self.index, entry)
    }

    async fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        self.answers()?;
        Engine::sessions(&self.index, principal)
    }

    async fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        self.answers()?;
        Engine::leave(&self.index, principal, handle)
    }

    async fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable> {
        self.answers()?;
        Engine::bar(&self.index, principal, now)
    }

    async fn scan(&self, _: Option<Cursor>, _: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        let answer = self.connect().and_then(|mut connection| connection.call(&["KEYS", "*"]));
        let Ok(Reply::List(keys)) = answer else { return Err(Unavailable) };
        let handle = |key| match key {
            Reply::Bytes(bytes) => bytes.try_into().ok().map(Handle::from_bytes),
            _ => None,
        };
        Ok((keys.into_iter().filter_map(handle).collect(), None))
    }

    async fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable> {
        self.answers()?;
        Engine::sweep(&self.index, now, max)
    }
}
