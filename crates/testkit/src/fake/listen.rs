//! Accepts connections, behind TLS where the cluster has it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// A connection with or without TLS.
type Io = Either<TcpStream, TlsStream<TcpStream>>;

const HANDSHAKE: Duration = Duration::from_secs(10);

pub(super) struct Listener {
    addr: SocketAddr,
    ready: mpsc::UnboundedReceiver<Io>,
}

impl Listener {
    pub(super) fn new(listener: std::net::TcpListener, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let (sender, ready) = mpsc::unbounded_channel();
        tokio::spawn(accept(TcpListener::from_std(listener)?, tls.map(TlsAcceptor::from), sender));
        Ok(Listener { addr, ready })
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, ready: mpsc::UnboundedSender<Io>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (ready, tls) = (ready.clone(), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => drop(ready.send(Either::Left(stream))),
                // Who may not connect is not served; the client's side says why.
                Some(tls) => {
                    if let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(stream)).await {
                        drop(ready.send(Either::Right(stream)));
                    }
                }
            }
        });
    }
}

impl axum::serve::Listener for Listener {
    type Io = Io;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Io, SocketAddr) {
        match self.ready.recv().await {
            Some(io) => (io, self.addr),
            // The accepting task ends only with the runtime.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}
