//! What was read and is still to be understood.
//!
//! The client library does that, but for nearly all answers: a record or a number that is here whole. Its parser takes 1,200
//! instructions more for one of those, in many places of the code, which after a wait are in no cache.

use bytes::{Buf, BytesMut};
use redis::{RedisError, Value, ValueCodec};
use tokio_util::codec::Decoder;

/// Room for what is read at once.
pub(super) const ROOM: usize = 16 * 1024;
/// Room that is kept, here and for what is sent: what was needed for a large record is not.
pub(super) const KEPT: usize = 64 * 1024;
/// Digits of a number that is told here.
const DIGITS: usize = 9;
const END: &[u8] = b"\r\n";

#[derive(Default)]
pub(super) struct Inbox {
    codec: ValueCodec,
    /// The codec has taken a part of an answer.
    is_begun: bool,
    bytes: BytesMut,
}

impl Inbox {
    /// The next answer, if it is here whole.
    pub(super) fn next(&mut self) -> Result<Option<Value>, RedisError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let simple = if self.is_begun { None } else { simple(&self.bytes) };
        if let Some((value, length)) = simple {
            self.bytes.advance(length);
            return Ok(Some(value));
        }
        let next = self.codec.decode(&mut self.bytes)?;
        self.is_begun = next.is_none();
        Ok(next)
    }

    /// Where more is put.
    pub(super) fn room(&mut self) -> &mut BytesMut {
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
            self.bytes = BytesMut::new();
        }
        self.bytes.reserve(ROOM);
        &mut self.bytes
    }
}

/// A number, a string or nothing that the bytes begin with, and how many of them it takes. None where they begin with something
/// else, or do not have all of it.
fn simple(bytes: &[u8]) -> Option<(Value, usize)> {
    let (kind, rest) = bytes.split_first()?;
    let digits = rest.iter().take(DIGITS).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at_checked(digits)?;
    let rest = rest.strip_prefix(END).filter(|_| !digits.is_empty())?;
    let number = digits
        .iter()
        .fold(0, |number: u32, digit| number.saturating_mul(10).saturating_add(u32::from(digit.wrapping_sub(b'0'))));
    let (value, rest) = match kind {
        b':' => (Value::Int(number.into()), rest),
        b'$' => {
            let (text, rest) = rest.split_at_checked(usize::try_from(number).ok()?)?;
            (Value::BulkString(text.to_vec()), rest.strip_prefix(END)?)
        }
        _ => return None,
    };
    Some((value, bytes.len().saturating_sub(rest.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWERS: [&[u8]; 14] = [
        b":0\r\n",
        b":1\r\n",
        b":-1\r\n",
        b":123456789\r\n",
        b":1234567890\r\n",
        b"$0\r\n\r\n",
        b"$-1\r\n",
        b"$3\r\n$1\r\r\n",
        b"$13\r\nall \0\xff\r\n else\r\n",
        b"+OK\r\n",
        b"-NOSCRIPT No matching script.\r\n",
        b"*2\r\n$1\r\na\r\n:7\r\n",
        b"*4\r\n$0\r\n\r\n:1\r\n:0\r\n*0\r\n",
        b"*-1\r\n",
    ];

    /// What was understood of bytes that come in such pieces.
    fn understood<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Value> {
        let (mut inbox, mut values) = (Inbox::default(), Vec::new());
        for piece in pieces {
            inbox.room().extend_from_slice(piece);
            while let Some(value) = inbox.next().unwrap() {
                values.push(value);
            }
        }
        assert!(inbox.bytes.is_empty());
        values
    }

    #[test]
    fn answers_are_understood_as_by_the_client_library_however_they_are_cut() {
        let all = ANSWERS.concat();
        let expected: Vec<_> = ANSWERS.iter().map(|answer| redis::parse_redis_value(answer).unwrap()).collect();
        for length in 1..=all.len() {
            assert_eq!(understood(all.chunks(length)), expected, "{length}");
        }
        for cut in 0..all.len() {
            let (one, other) = all.split_at(cut);
            assert_eq!(understood([one, other]), expected, "{cut}");
        }
    }

    #[test]
    fn what_is_no_answer_is_for_the_client_library_to_refuse() {
        for bytes in [&b":\r\n"[..], b":1x\r\n", b"$\r\n\r\n", b"$1\r\nab\r\n", b"$1\r\na\r\r\n", b"x1\r\n"] {
            assert_eq!(simple(bytes), None);
            let mut inbox = Inbox::default();
            inbox.room().extend_from_slice(bytes);
            assert!(inbox.next().is_err(), "{bytes:?}");
        }
    }
}
