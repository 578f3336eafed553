//! A way to a server on which things go wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use binlog_sink::{MySqlTarget, Target};
use binlog_testkit::Mariadb;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[derive(Default)]
struct Wrongs {
    /// Connections that were there before are passed nothing any more, though both sides stay open.
    silenced: AtomicU64,
    duplicate_at_commit: AtomicBool,
}

pub(crate) struct Proxy {
    port: u16,
    wrongs: Arc<Wrongs>,
}

impl Proxy {
    pub(crate) async fn before(server: &Mariadb) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (wrongs, behind) = (Arc::new(Wrongs::default()), server.port());
        let shared = Arc::clone(&wrongs);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&shared)));
            }
        });
        Proxy { port, wrongs }
    }

    pub(crate) fn target(&self, read_timeout: std::time::Duration) -> Target {
        Target::MySql(MySqlTarget {
            host: "127.0.0.1".into(),
            port: self.port,
            user: "root".into(),
            read_timeout: Some(read_timeout),
            ..MySqlTarget::default()
        })
    }

    /// As where a firewall forgets the connections that there are.
    pub(crate) fn silence(&self) {
        self.wrongs.silenced.fetch_add(1, Ordering::SeqCst);
    }

    /// As TiDB, which finds duplicates of an optimistic transaction only at its end, and takes it back.
    pub(crate) fn find_a_duplicate_at_the_next_commit(&self) {
        self.wrongs.duplicate_at_commit.store(true, Ordering::SeqCst);
    }

    /// It was found.
    pub(crate) fn found(&self) -> bool {
        !self.wrongs.duplicate_at_commit.load(Ordering::SeqCst)
    }
}

fn query(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap();
    [&[length, 0, 0, 0, 3], text.as_bytes()].concat()
}

async fn pass(mut client: TcpStream, mut server: TcpStream, wrongs: Arc<Wrongs>) {
    let born = wrongs.silenced.load(Ordering::SeqCst);
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let count = tokio::select! {
            count = client.read(&mut asked) => Some(count),
            count = server.read(&mut answered) => {
                let Ok(count @ 1..) = count else { return };
                if wrongs.silenced.load(Ordering::SeqCst) > born {
                    return std::future::pending().await;
                }
                client.write_all(&answered[..count]).await.unwrap();
                None
            }
        };
        let Some(count) = count else { continue };
        let Ok(count @ 1..) = count else { return };
        if wrongs.silenced.load(Ordering::SeqCst) > born {
            return std::future::pending().await;
        }
        let asked = &asked[..count];
        if asked == query("COMMIT") && wrongs.duplicate_at_commit.swap(false, Ordering::SeqCst) {
            server.write_all(&query("ROLLBACK")).await.unwrap();
            let count = server.read(&mut answered).await.unwrap();
            assert!(count > 4, "an OK packet");
            let error = b"\xff\x26\x04#23000Duplicate entry '1' for key 'PRIMARY'";
            let head = [u8::try_from(error.len()).unwrap(), 0, 0, 1];
            client.write_all(&[&head[..], &error[..]].concat()).await.unwrap();
            continue;
        }
        server.write_all(asked).await.unwrap();
    }
}
