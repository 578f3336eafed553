//! Metrics for a Prometheus pushgateway, where one is configured.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(5);

/// Pushes what `gather` says for `instance`, every interval, until the future is dropped. A failure is logged when it begins.
pub async fn push_metrics(
    address: &str,
    instance: &str,
    interval: Duration,
    gather: impl Fn() -> String + Clone + Send + 'static,
) {
    let mut last_failure = String::new();
    loop {
        tokio::time::sleep(interval).await;
        let pushed = match timeout(DEADLINE, push(address, instance, gather.clone())).await {
            Ok(pushed) => pushed,
            Err(_) => Err(format!("no answer within {DEADLINE:?}")),
        };
        match pushed {
            Ok(()) => last_failure.clear(),
            Err(error) if error == last_failure => {}
            Err(error) => {
                tracing::error!(address, error, "could not push metrics to Prometheus Pushgateway");
                last_failure = error;
            }
        }
    }
}

async fn push(
    address: &str,
    instance: &str,
    gather: impl FnOnce() -> String + Send + 'static,
) -> Result<(), String> {
    let body = tokio::task::spawn_blocking(gather).await.map_err(|e| e.to_string())?;
    let mut stream = TcpStream::connect(host_of(address)).await.map_err(|e| e.to_string())?;
    let head = format!(
        "POST /metrics/job/binlog/instance/{} HTTP/1.0\r\nHost: {}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
        instance,
        host_of(address),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.map_err(|e| e.to_string())?;
    stream.write_all(body.as_bytes()).await.map_err(|e| e.to_string())?;
    let mut reply = Vec::new();
    // The first line is enough.
    stream.take(4096).read_to_end(&mut reply).await.map_err(|e| e.to_string())?;
    let line = String::from_utf8_lossy(&reply);
    let line = line.lines().next().unwrap_or_default();
    let status = line.split_whitespace().nth(1).unwrap_or_default();
    if status.starts_with('2') { Ok(()) } else { Err(format!("it answers {line:?}")) }
}

/// The address may be written with its scheme.
fn host_of(address: &str) -> &str {
    address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/')
}
