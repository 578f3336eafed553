//! The program, killed while it is written to.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::harness::{Client, Root, commit, prewrite, text};

/// The program, killed when dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may be dead already, on purpose.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn start(root: &Root, addr: &str) -> (Program, Client) {
    let program = Command::new(env!("CARGO_BIN_EXE_pump"))
        .args([
            "-addr",
            addr,
            "--data-dir",
            &text(&root.data_dir()),
            "-cluster-dir",
            &text(&root.cluster_dir()),
        ])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let program = Program(program);
    let online = async {
        while !(tokio::net::TcpStream::connect(addr).await.is_ok()
            && crate::http::request(addr, "GET", "/ready").await.ends_with("ok\n"))
        {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), online).await.expect("the pump is not online after 20 s");
    let client = Client::connect(addr).await;
    (program, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_kill_9() {
    let root = Root::new();
    let addr = format!("127.0.0.1:{}", free_port());
    let (mut acknowledged, mut open) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let (mut program, mut client) = start(&root, &addr).await;
        for p in open.drain(..) {
            let c = commit(&p, client.ts().await);
            client.send(&c).await.unwrap();
            acknowledged.push((c.commit_ts, crate::harness::joined(&p, &c)));
        }
        let writers: Vec<_> = (0..4)
            .map(|n| {
                let mut client = client.clone();
                tokio::spawn(async move {
                    let mut sent = Vec::new();
                    for _ in 0..30 {
                        sent.push(client.transaction(n, 300).await);
                    }
                    sent
                })
            })
            .collect();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
        let p = prewrite(client.ts().await, 1, 300);
        client.send(&p).await.unwrap();
        open.push(p);
        program.0.kill().unwrap();
        program.0.wait().unwrap();
    }
    acknowledged.sort();
    let (_program, mut client) = start(&root, &addr).await;
    let through = acknowledged.last().unwrap().0;
    // The transaction that is open still holds nothing back that came before it.
    let expected: Vec<_> = acknowledged.into_iter().map(|(_, payload)| payload).collect();
    assert_eq!(client.pull(0, through).await, expected);
}
