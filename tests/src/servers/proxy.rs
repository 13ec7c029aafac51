use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What a proxy does to what passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Every piece of a reply arrives that much later.
    Delay(Duration),
    /// Requests arrive, replies never do: the outcome stays unknown. The connection stays open.
    Swallow,
    /// Requests arrive, and the connection is cut after so many bytes of the reply to the next.
    CutReplyAfter(usize),
    /// Nothing passes in either direction, and no connection is closed.
    Hang,
    /// Connections are cut, new ones too.
    Refuse,
}

/// A TCP proxy that can do harm. Connections through it end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: String,
    fault: Mutex<Fault>,
    links: Mutex<Vec<Link>>,
    is_over: AtomicBool,
}

/// Both ends of one connection.
#[derive(Debug)]
struct Link {
    client: TcpStream,
    server: TcpStream,
}

impl Proxy {
    /// A proxy in front of `target`, a `host:port`.
    pub fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            fault: Mutex::default(),
            links: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Self { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL of the server, with the proxy in its place.
    pub fn url(&self, of_server: &str) -> String {
        of_server.replace(&self.shared.target, &self.address())
    }

    pub fn set(&self, fault: Fault) {
        *lock(&self.shared.fault) = fault;
        if fault == Fault::Refuse {
            self.cut();
        }
    }

    /// Cuts every connection there is; new ones are as good as before.
    pub fn cut(&self) {
        lock(&self.shared.links).drain(..).for_each(|link| link.cut());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the one who accepts, so that it sees that it is over.
        let _ended = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            let Ok(client) = client else { continue };
            if *lock(&self.fault) == Fault::Refuse {
                continue;
            }
            let Ok(server) = TcpStream::connect(&self.target) else { continue };
            let _best_effort = [client.set_nodelay(true), server.set_nodelay(true)];
            let both = || -> std::io::Result<_> { Ok((client.try_clone()?, server.try_clone()?)) };
            let (Ok((up_from, up_to)), Ok((down_to, down_from))) = (both(), both()) else { continue };
            lock(&self.links).push(Link { client, server });
            let (up, down) = (Arc::clone(self), Arc::clone(self));
            thread::spawn(move || up.requests(up_from, up_to));
            thread::spawn(move || down.replies(down_from, down_to));
        }
    }

    fn requests(&self, from: TcpStream, to: TcpStream) {
        self.pass(from, to, |_, part, to| to.write_all(part).is_ok());
    }

    fn replies(&self, from: TcpStream, to: TcpStream) {
        self.pass(from, to, |fault, part, to| match fault {
            Fault::Swallow => true,
            Fault::CutReplyAfter(bytes) => {
                let _cut_anyway = to.write_all(&part[..bytes.min(part.len())]);
                *lock(&self.fault) = Fault::None;
                false
            }
            Fault::Delay(span) => {
                thread::sleep(span);
                to.write_all(part).is_ok()
            }
            Fault::None | Fault::Hang | Fault::Refuse => to.write_all(part).is_ok(),
        });
    }

    /// Passes on what comes until either side is closed or `send` says no.
    fn pass(&self, mut from: TcpStream, mut to: TcpStream, send: impl Fn(Fault, &[u8], &mut TcpStream) -> bool) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            while *lock(&self.fault) == Fault::Hang && !self.is_over.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(2));
            }
            let fault = *lock(&self.fault);
            if !send(fault, &buffer[..count], &mut to) {
                break;
            }
        }
        Link { client: from, server: to }.cut();
    }
}

impl Link {
    fn cut(&self) {
        let _closed_already = [self.client.shutdown(Shutdown::Both), self.server.shutdown(Shutdown::Both)];
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
