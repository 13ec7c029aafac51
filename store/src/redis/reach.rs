//! Connections to where servers are.

use std::io;
use std::path::Path;

use tokio::net::TcpStream;

use super::settings::Place;
use crate::reactor::{LoopHandle, Socket};

/// Connects, for whoever is served by the runtime that this runs in.
pub(super) async fn connected(to: &Place) -> io::Result<TcpStream> {
    match to {
        Place::Network(address) => {
            let stream = TcpStream::connect((&*address.host, address.port)).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        }
        Place::Socket(path) => by_socket(path).await,
    }
}

/// The standard library's type for TCP holds any connected socket: what it asks the system for is the same for both, but for
/// what only TCP has, a delay. One type so serves whoever reads and writes it.
#[cfg(unix)]
async fn by_socket(path: &Path) -> io::Result<TcpStream> {
    use std::os::fd::OwnedFd;

    let stream = tokio::net::UnixStream::connect(path).await?.into_std()?;
    TcpStream::from_std(OwnedFd::from(stream).into())
}

#[cfg(not(unix))]
async fn by_socket(_path: &Path) -> io::Result<TcpStream> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Connects on the thread of `crate::runtime`, which can look names up, for a connection that a loop is to serve.
pub(super) async fn connected_for(to: &Place, home: LoopHandle) -> io::Result<Socket> {
    let to = to.clone();
    let connecting = crate::runtime::handle()?.spawn(async move { connected(&to).await?.into_std() });
    Socket::new(connecting.await.map_err(io::Error::other)??, home)
}
