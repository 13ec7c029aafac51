//! Calls over TCP, one at a time on each connection. What crosses the network is a number; what it stands for lies in the memory that all
//! hosts of a simulation share, and is looked up only by who received the number.

use core::future::Future;
use core::time::Duration;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use turmoil::net::{TcpListener, TcpStream};

const PORT: u16 = 7;
/// An idle connection is not trusted for longer.
const KEPT_MS: u64 = 5000;

/// A call without an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// It never left: there was no connection.
    Unsent,
    /// It was sent, and whether it arrived is not known.
    Unanswered,
}

/// Connections to one host that are kept for the next call, as a client library would.
#[derive(Default)]
pub struct Pool(Mutex<Vec<(u64, TcpStream)>>);

impl Pool {
    /// Sends `number` once and waits for a number. Only a connection that has just answered is kept.
    pub async fn call(&self, host: &str, number: u64, patience: Duration) -> Result<u64, Lost> {
        let kept = self.0.lock().unwrap().pop();
        let mut stream = match kept {
            Some((since, stream)) if sim_ms() < since + KEPT_MS => stream,
            _ => match timeout(patience, TcpStream::connect((host, PORT))).await {
                Ok(Ok(stream)) => stream,
                _ => return Err(Lost::Unsent),
            },
        };
        let answer = async {
            stream.write_all(&number.to_be_bytes()).await?;
            stream.read_u64().await
        };
        match timeout(patience, answer).await {
            Ok(Ok(number)) => {
                self.0.lock().unwrap().push((sim_ms(), stream));
                Ok(number)
            }
            _ => Err(Lost::Unanswered),
        }
    }
}

/// Answers calls for ever, each in a task of its own.
pub async fn serve<F, A>(answer: F) -> turmoil::Result
where
    F: Fn(u64) -> A + Clone + 'static,
    A: Future<Output = u64> + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        let answer = answer.clone();
        tokio::task::spawn_local(async move {
            while let Ok(number) = stream.read_u64().await {
                let number = answer(number).await;
                if stream.write_all(&number.to_be_bytes()).await.is_err() {
                    break;
                }
            }
        });
    }
}

/// Milliseconds since the simulation began, the same on every host.
pub fn sim_ms() -> u64 {
    u64::try_from(turmoil::sim_elapsed().unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
