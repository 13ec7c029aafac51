//! What is asked and answered most, without a future, where somebody can be called or waits: a record, and the swap of one that stays.
//! None in place of an answer says that it is to be asked for as ever.

use std::sync::Arc;

use coatroom_core::{Handle, Listing, Loaded, Swap};
use redis::Value;
use tokio::time::Instant;

use super::Redis;
use super::line::Lost;
use super::net::{Net, Outcome};
use super::refusal::is_refusal;
use super::scripts::{self, SWAP};
use crate::host::is_asking;
use crate::{Calling, Swapped};

impl Redis {
    /// What a swap asks for. What is more than this is written by other scripts, and may have to be confirmed by replicas.
    fn with_question<T>(&self, swap: &Swap, ask: impl FnOnce(&[&[u8]]) -> T) -> Option<T> {
        let (Some(expected), Some(new), Listing::Keep) = (&swap.expected, &swap.new, &swap.listing) else {
            return None;
        };
        if swap.durable && self.dialer.settings.confirm.is_some() {
            return None;
        }
        let (key, kept) = (self.record_key(swap.handle), self.kept(swap.garbage_at).to_string());
        let digest = SWAP.digest().as_bytes();
        Some(ask(&[b"EVALSHA", digest, b"1", &key, expected.as_bytes(), new, kept.as_bytes()]))
    }

    pub(super) fn loaded(answer: Value) -> Option<Loaded> {
        match answer {
            Value::Nil => Some(Loaded::Absent),
            Value::BulkString(record) => Some(Loaded::Found(record)),
            _ => None,
        }
    }

    /// On a connection that a thread has to itself, if one is at hand.
    pub(super) fn load_held(net: &Net, key: &[u8], deadline: Instant) -> Option<Loaded> {
        if !is_asking() {
            return None;
        }
        match net.ask_held(&[b"GET", key], deadline)? {
            Outcome::Answer(answer) => Self::loaded(answer),
            _ => None,
        }
    }

    pub(super) fn swap_held(&self, net: &Net, swap: &Swap) -> Option<Swapped> {
        if !is_asking() {
            return None;
        }
        match self.with_question(swap, |question| net.ask_held(question, net.deadline()))?? {
            Outcome::Answer(answer) => Some(scripts::swapped(answer)),
            Outcome::Refused(_) | Outcome::Unsent => None,
            Outcome::Unknown => Some(Swapped::Unknown),
        }
    }
}

impl Calling for Redis {
    fn begin_load(&self, handle: Handle, then: impl FnOnce(Option<Loaded>) + Send + 'static) {
        let (net, key) = (self.net(), self.record_key(handle));
        let wire = net.wire_of_this_loop();
        let Some(mut question) = wire.as_ref().and_then(|wire| wire.line()?.question()) else { return then(None) };
        question.pack(&[b"GET", &key]);
        let noting = Arc::clone(net);
        let answered = move |answer| {
            let loaded = match answer {
                Ok(answer) => Self::loaded(answer),
                Err(Lost::Cut) => None,
                Err(Lost::Late) => {
                    noting.note_silence();
                    Some(Loaded::Unavailable)
                }
            };
            then(loaded);
        };
        question.call(net.deadline(), Box::new(answered));
    }

    // spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632
    fn begin_swap<W>(&self, whose: W, then: impl FnOnce(W, Option<Swapped>) + Send + 'static)
    where
        W: AsRef<Swap> + Send + 'static,
    {
        let net = self.net();
        let wire = net.wire_of_this_loop();
        let Some(mut question) = wire.as_ref().and_then(|wire| wire.line()?.question()) else {
            return then(whose, None);
        };
        if self.with_question(whose.as_ref(), |parts| question.pack(parts)).is_none() {
            drop(question);
            return then(whose, None);
        }
        let noting = Arc::clone(net);
        let answered = move |answer| {
            let swapped = match answer {
                Ok(Value::ServerError(error)) if is_refusal(&error) => None,
                Ok(Value::ServerError(error)) => {
                    noting.note(error.to_string());
                    Some(Swapped::Unknown)
                }
                Ok(answer) => Some(scripts::swapped(answer)),
                Err(Lost::Cut) => Some(Swapped::Unknown),
                Err(Lost::Late) => {
                    noting.note_silence();
                    Some(Swapped::Unknown)
                }
            };
            then(whose, swapped);
        };
        question.call(net.deadline(), Box::new(answered));
    }
}
