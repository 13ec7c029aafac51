//! The same servers, asked on the thread of an event loop that watches one descriptor.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use coatroom_core::{Entry, Handle, Loaded, Swap, Timestamp};
use coatroom_store::{Calling as _, Cursor, Entered, NotListed, Reactor, Store as _, Swapped, Unavailable, block_on};
use coatroom_tests::faults::{self, Outage};
use coatroom_tests::servers::{Cluster, Proxy, Redis, Server as _};
use coatroom_tests::suite::{all_but_sweeping, until};

use tokio::sync::oneshot::Sender;

use super::{LIMIT, Store, cluster_url, record, settings, store, swap};

/// So long that whatever is not told of a wake hangs for good.
const PATIENCE: Duration = Duration::from_mins(5);

/// A store whose calls all run on the thread of one loop.
pub(super) struct OnLoop {
    store: Arc<Store>,
    reactor: Arc<Reactor>,
    is_over: Arc<AtomicBool>,
    turning: Option<JoinHandle<()>>,
    /// Where there is a connection, it calls with the answer.
    calls: bool,
    /// How often it did.
    called: AtomicU32,
}

/// What a swap is sent for.
struct Own(Swap);

impl AsRef<Swap> for Own {
    fn as_ref(&self) -> &Swap {
        &self.0
    }
}

impl OnLoop {
    pub(super) fn calling(store: Store) -> Self {
        let mut on_loop = Self::new(store);
        on_loop.calls = true;
        on_loop
    }

    pub(super) fn new(store: Store) -> Self {
        let (reactor, is_over) = (Arc::new(Reactor::new().unwrap()), Arc::<AtomicBool>::default());
        let (turned, stops) = (Arc::clone(&reactor), Arc::clone(&is_over));
        let turning = thread::spawn(move || {
            while !stops.load(Ordering::SeqCst) {
                turned.turn_within(PATIENCE);
            }
        });
        let (store, called) = (Arc::new(store), AtomicU32::new(0));
        Self { store, reactor, is_over, turning: Some(turning), calls: false, called }
    }

    /// What is called with, if anything is known then.
    async fn call<T: Send + 'static>(&self, begin: impl FnOnce(&Store, Sender<Option<T>>) + Send) -> Option<T> {
        if !self.calls {
            return None;
        }
        let (tell, told) = tokio::sync::oneshot::channel();
        self.reactor.within(|| begin(&self.store, tell));
        self.reactor.wake();
        let told = told.await.unwrap();
        self.called.fetch_add(u32::from(told.is_some()), Ordering::SeqCst);
        told
    }

    async fn run<T, F>(&self, work: impl FnOnce(Arc<Store>) -> F + Send) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (tell, told) = tokio::sync::oneshot::channel();
        let work = work(Arc::clone(&self.store));
        self.reactor.spawn(Box::pin(async move {
            drop(tell.send(work.await));
        }));
        self.reactor.wake();
        told.await.ok()
    }
}

impl Drop for OnLoop {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.reactor.wake();
        self.turning.take().unwrap().join().unwrap();
    }
}

impl coatroom_store::Store for OnLoop {
    async fn load(&self, handle: Handle) -> Loaded {
        let called = self.call(|store, tell| store.begin_load(handle, |loaded| _ = tell.send(loaded))).await;
        if let Some(loaded) = called {
            return loaded;
        }
        self.run(|store| async move { store.load(handle).await }).await.unwrap()
    }

    async fn swap(&self, swap: &Swap) -> Swapped {
        let swap = swap.clone();
        let own = Own(swap.clone());
        let called = self.call(|store, tell| store.begin_swap(own, |_, swapped| _ = tell.send(swapped))).await;
        if let Some(swapped) = called {
            return swapped;
        }
        self.run(|store| async move { store.swap(&swap).await }).await.unwrap()
    }

    async fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
        let entry = entry.clone();
        self.run(|store| async move { store.enter(&entry).await }).await.unwrap()
    }

    async fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        let principal = principal.to_owned();
        self.run(|store| async move { store.sessions(&principal).await }).await.unwrap()
    }

    async fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        let principal = principal.to_owned();
        self.run(|store| async move { store.leave(&principal, handle).await }).await.unwrap()
    }

    async fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable> {
        let principal = principal.to_owned();
        self.run(|store| async move { store.bar(&principal, now).await }).await.unwrap()
    }

    async fn scan(&self, from: Option<Cursor>, max: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        self.run(|store| async move { store.scan(from, max).await }).await.unwrap()
    }

    async fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable> {
        self.run(|store| async move { store.sweep(now, max).await }).await.unwrap()
    }

    fn enters_with_swap(&self) -> bool {
        self.store.enters_with_swap()
    }
}

#[test]
// spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632
fn a_server_and_a_cluster_pass_the_suite_on_an_event_loop() {
    let server = Redis::start(&[]);
    all_but_sweeping(&OnLoop::new(store(&server.url())));
    let cluster = Cluster::start(&[]);
    all_but_sweeping(&OnLoop::new(store(&cluster_url(&cluster))));
}

#[test]
// spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632
fn a_server_whose_answers_are_called_with_passes_the_suite() {
    let server = Redis::start(&[]);
    let on_loop = OnLoop::calling(store(&server.url()));
    all_but_sweeping(&on_loop);
    assert!(on_loop.called.load(Ordering::SeqCst) > 100, "it calls");
}

#[test]
// spec: STORE-3 1632, STORE-5 5484
fn whatever_fails_an_event_loop_is_told_in_time() {
    whatever_fails(OnLoop::new);
}

#[test]
// spec: STORE-3 1632, STORE-5 5484
fn whatever_fails_who_is_called_is_told_in_time() {
    whatever_fails(OnLoop::calling);
}

/// A server that keeps what it has on disk.
pub(super) fn lasting() -> Redis {
    Redis::start(&["appendonly yes", "appendfsync always"])
}

pub(super) fn whatever_the_server_does(asked: &impl coatroom_store::Store, server: &mut Redis) {
    for outage in [Outage::Kill, Outage::Stop, Outage::Pause(LIMIT / 2)] {
        faults::outages(asked, server, outage, true);
    }
    faults::comes_back(asked, server, Duration::from_millis(200), Duration::from_secs(1));
}

pub(super) fn whatever_fails<S: coatroom_store::Store>(on: impl Fn(Store) -> S) {
    let mut server = lasting();
    whatever_the_server_does(&on(store(&server.url())), &mut server);

    let proxy = Proxy::to(&server.address());
    let asked = on(store(&proxy.url(&server.url())));
    faults::slow_replies(&asked, &proxy);
    faults::cut_replies(&asked, &proxy);
    faults::never_hangs(&asked, &proxy, LIMIT + Duration::from_millis(400));
    faults::counting_through_cuts(&asked, &proxy);
}

#[test]
fn records_larger_than_the_buffers_of_a_connection_arrive_whole() {
    let server = Redis::start_with_tls(&[]);
    for store in [store(&server.url()), store_over_tls(&server)] {
        large_records(&OnLoop::calling(store));
    }
}

fn large_records(on_loop: &OnLoop) {
    let mut large = record(1, 1);
    large.resize(8 << 20, 7);
    let create = swap(super::handle(1), None, Some(&large));
    assert_eq!(block_on(on_loop.swap(&create)), Swapped::Done);
    for _ in 0..2 {
        assert!(block_on(on_loop.load(super::handle(1))) == Loaded::Found(large.clone()));
    }
    let written = record(2, 2);
    let replace = swap(super::handle(1), Some(&large), Some(&written));
    assert_eq!(block_on(on_loop.swap(&replace)), Swapped::Done);
    assert_eq!(on_loop.called.load(Ordering::SeqCst), 3, "all but the first, for which there was no connection yet");
    let remove = swap(super::handle(1), Some(&written), None);
    assert_eq!(block_on(on_loop.swap(&remove)), Swapped::Done);
}

#[test]
// spec: STORE-1 4bc6
fn what_many_ask_in_one_turn_arrives_over_tls_too() {
    let server = Redis::start_with_tls(&[]);
    for store in [store(&server.url()), store_over_tls(&server)] {
        let on_loop = OnLoop::calling(store);
        let (mut before, mut after) = (record(1, 1), record(2, 2));
        before.resize(1500, 1);
        after.resize(1500, 2);
        for number in 0..64 {
            let create = swap(super::handle(number), None, Some(&before));
            assert_eq!(block_on(on_loop.swap(&create)), Swapped::Done);
        }
        let (tell, told) = channel();
        on_loop.reactor.within(|| {
            for number in 0..64 {
                let (tell, replace) = (tell.clone(), swap(super::handle(number), Some(&before), Some(&after)));
                on_loop.store.begin_swap(Own(replace), move |_, swapped| tell.send(swapped).unwrap());
            }
        });
        on_loop.reactor.wake();
        let answers: Vec<_> = (0..64).map(|_| told.recv_timeout(LIMIT * 2).unwrap()).collect();
        assert_eq!(answers, vec![Some(Swapped::Done); 64]);
        for number in 0..64 {
            assert!(block_on(on_loop.load(super::handle(number))) == Loaded::Found(after.clone()));
            let remove = swap(super::handle(number), Some(&after), None);
            assert_eq!(block_on(on_loop.swap(&remove)), Swapped::Done);
        }
    }
}

#[test]
fn a_loop_that_stood_still_takes_what_came_meanwhile() {
    let server = Redis::start(&[]);
    let (store, reactor) = connected(&server);
    for goes_on in [Reactor::turn, Reactor::run] {
        let told = begin_to_load(&reactor, &store);
        reactor.run();
        // Something else takes the loop longer than any answer is waited for.
        thread::sleep(LIMIT + Duration::from_millis(100));
        goes_on(&reactor);
        assert_eq!(told.try_recv(), Ok(Loaded::Absent));
    }
}

#[test]
fn what_a_loop_has_begun_is_finished_though_it_never_turns_again() {
    let server = Redis::start(&[]);
    let store = Arc::new(store(&server.url()));
    let reactor = Reactor::new().unwrap();
    for _ in 0..3 {
        let told = begin_to_load(&reactor, &store);
        reactor.run();
        assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok(Loaded::Absent));
    }
}

#[test]
fn a_loop_that_is_closed_leaves_no_connection_and_ends_what_waits_for_one() {
    let server = Redis::start(&[]);
    let (store, reactor) = connected(&server);
    assert_eq!(connections(&server), 1);
    server.pause();
    let waits = begin_to_load(&reactor, &store);
    reactor.turn();
    drop(reactor);
    assert!(waits.recv().is_err(), "it asked again, and nobody turns that");
    server.resume();
    until("no connection is left", Duration::from_secs(5), || connections(&server) == 0);
}

#[test]
fn a_store_that_is_gone_leaves_no_connection_to_a_loop() {
    let server = Redis::start(&[]);
    let (store, reactor) = connected(&server);
    assert_eq!(connections(&server), 1);
    drop(store);
    until("no connection is left", Duration::from_secs(5), || {
        reactor.turn();
        connections(&server) == 0
    });
}

pub(super) fn store_over_tls(server: &Redis) -> Store {
    Store::connect(settings(&server.tls_url()).authority(&server.certificates().authority)).unwrap()
}

/// A store, and a loop that has asked it.
fn connected(server: &Redis) -> (Arc<Store>, Reactor) {
    let store = Arc::new(store(&server.url()));
    let reactor = Reactor::new().unwrap();
    let told = begin_to_load(&reactor, &store);
    until("there is an answer", Duration::from_secs(5), || {
        reactor.turn();
        told.try_recv() == Ok(Loaded::Absent)
    });
    (store, reactor)
}

fn begin_to_load(reactor: &Reactor, store: &Arc<Store>) -> Receiver<Loaded> {
    let (tell, told) = channel();
    let store = Arc::clone(store);
    reactor.spawn(Box::pin(async move {
        drop(tell.send(store.load(super::handle(1)).await));
    }));
    told
}

/// But for the one that asks.
pub(super) fn connections(server: &Redis) -> usize {
    server.call(&["CLIENT", "LIST"]).text().lines().filter(|line| !line.is_empty()).count() - 1
}
