//! What verifying costs beside the bare signature, and what a million ended sessions take, in one run.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark stops where it cannot go on")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use coatroom_core::{Announcement, Handle, KeyRing, Policy, Rules, Settings, Subject, Timestamp};
use coatroom_store::{Driver, Host, memory::Memory};
use coatroom_token::{Issuer, Late, Revocations, SigningKeys, Verifier};
use criterion::{Criterion, criterion_group, criterion_main};
use ed25519_dalek::{Signature, Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const RING: &str = "1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE";
const ED: &str = "ed-1:EdDSA:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3I";
const HS: &str = "hs-1:HS256:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3I";
const SEED: &[u8; 32] = b"obviously a test key, not a secr";
const ENDED: u64 = 1_000_000;

fn verify(c: &mut Criterion) {
    let rules = Rules::new(Policy::try_from(Settings::default()).unwrap(), KeyRing::parse(RING).unwrap());
    let driver = Driver::new(rules, Memory::default());
    let mut session = driver.open_now(b"").unwrap();
    session.login("ada", &["admin", "staff"], 1).unwrap();
    let reply = driver.close_now(session).unwrap();
    let cookie = reply.set_cookies().find(|line| line.starts_with("__Host-id=")).unwrap();
    let session = driver.open_now(cookie.split(';').next().unwrap().as_bytes()).unwrap();
    let now = driver.host().now();

    for (name, text) in [("EdDSA", ED), ("HS256", HS)] {
        let verifier = Verifier::new("https://shop.example", "orders", SigningKeys::parse(text).unwrap().verifying());
        let issuer = Issuer::new("https://shop.example", "orders", SigningKeys::parse(text).unwrap()).unwrap();
        let (verifier, token) = (verifier.unwrap(), issuer.issue(&session, &mut driver.host().rng()).unwrap());
        let token = token.as_str().as_bytes();
        let signed = &token[..token.iter().rposition(|&byte| byte == b'.').unwrap()];
        let mut group = c.benchmark_group(name);
        if name == "EdDSA" {
            let key = SigningKey::from_bytes(SEED);
            let (public, signature) = (key.verifying_key(), key.sign(signed).to_bytes());
            group.bench_function("bare", |b| {
                b.iter(|| public.verify_strict(black_box(signed), &Signature::from_bytes(&signature)).unwrap());
            });
        } else {
            let key = Hmac::<Sha256>::new_from_slice(SEED).unwrap();
            let tag = key.clone().chain_update(signed).finalize().into_bytes();
            group.bench_function("bare", |b| {
                b.iter(|| key.clone().chain_update(black_box(signed)).verify_slice(&tag).unwrap());
            });
        }
        group.bench_function("verify", |b| b.iter(|| verifier.verify(black_box(token), now).unwrap()));
        let revocations = Arc::new(Revocations::new(verifier.lifetime(), verifier.leeway()));
        revocations.learn([], Some(now), now);
        let fed = verifier.clone().with_revocations(revocations, Duration::from_mins(1), Late::Accept);
        group.bench_function("verify, with a feed", |b| b.iter(|| fed.verify(black_box(token), now).unwrap()));
        group.bench_function("issue", |b| b.iter(|| issuer.issue(&session, &mut driver.host().rng()).unwrap()));
        group.finish();
    }
}

/// Handles that look random.
fn handle(n: u64) -> Handle {
    let mut word = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mut bytes = [7; 12];
    bytes[..8].copy_from_slice(&(word ^ (word >> 31)).to_be_bytes());
    Handle::from_bytes(bytes)
}

fn revocations(c: &mut Criterion) {
    let now = Timestamp::from_unix_ms(1_767_225_600_000);
    let revocations = Revocations::new(Duration::from_mins(5), Duration::from_secs(5));
    let ended: Vec<_> = (0..ENDED).map(|n| Announcement { subject: Subject::Session(handle(n)), at: now }).collect();
    for increment in ended.chunks(1000) {
        revocations.learn(increment, Some(now), now);
    }
    println!("{} ended sessions: {} bytes", revocations.len(), revocations.bytes());
    let mut n = 0_u64;
    let mut next = || {
        n = n.wrapping_add(7919);
        handle(n)
    };
    c.bench_function("ended/look-up", |b| b.iter(|| revocations.has_ended(black_box(next()), now)));
}

criterion_group!(tokens, verify, revocations);
criterion_main!(tokens);
