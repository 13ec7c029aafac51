//! Serving with and without a sweep beside it.

use core::time::Duration;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use coatroom_core::Handle;

const ALONE: Duration = Duration::from_secs(10);
/// A million rows take the sweeper longer; what is served beside its first minutes tells as much.
const BESIDE: Duration = Duration::from_mins(10);
const BATCH: usize = 500;
/// As the sweeper of the driver does.
const SHARE: u32 = 100;

/// Prints the latencies of `exchange`, which is given a session and how often it was written, with and without batches of
/// `sweep` beside it, which says how many of `rows` it removed.
pub(crate) fn compare(store: &str, rows: usize, exchange: impl Fn(Handle, u64), sweep: impl Fn(usize) -> usize + Sync) {
    // A thousand sessions, each phase its own.
    let serve = |phase: u8, done: &dyn Fn() -> bool| {
        let handle = |at: u16| {
            let mut bytes = [phase; 12];
            bytes[..2].copy_from_slice(&at.to_be_bytes());
            Handle::from_bytes(bytes)
        };
        let mut times = Vec::new();
        for version in 0.. {
            for handle in (0..1000).map(handle) {
                if done() {
                    return times;
                }
                let started = Instant::now();
                exchange(handle, version);
                times.push(started.elapsed());
            }
        }
        times
    };
    let started = Instant::now();
    let alone = serve(3, &|| started.elapsed() > ALONE);
    let over = AtomicBool::new(false);
    let (beside, (removed, took)) = thread::scope(|scope| {
        let sweeping = scope.spawn(|| {
            let (begun, mut removed) = (Instant::now(), 0);
            while removed < rows && begun.elapsed() < BESIDE {
                let started = Instant::now();
                removed += sweep(BATCH);
                thread::sleep(started.elapsed() * SHARE);
            }
            over.store(true, Ordering::SeqCst);
            (removed, begun.elapsed())
        });
        (serve(4, &|| over.load(Ordering::SeqCst)), sweeping.join().unwrap())
    });
    println!("{store}: a load and a swap, {removed} of {rows} expired rows swept beside it in {took:.1?}");
    for percent in [50, 99] {
        let [with, without] = [&beside, &alone].map(|times| quantile(times, percent).as_secs_f64() * 1e6);
        println!("with / without, p{percent}: {with:.1} us : {without:.1} us = {:.2}", with / without);
    }
}

pub(crate) fn quantile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}
