//! `tools stat`: what each pump holds.

use std::io::Write as _;

use binlog_proto::store::{HelloResponse, StatsResponse};
use binlog_pull::PumpClient;
use binlog_reparo::{Pumps, utc};
use binlog_types::Ts;

use crate::options::PumpArgs;

/// Prints a block for each pump.
///
/// # Errors
/// When a pump cannot be asked.
pub async fn run(pumps: &PumpArgs) -> anyhow::Result<()> {
    let mut config = binlog_reparo::Config::default();
    pumps.fill(&mut config);
    let source = Pumps::connect(&config.origin()?, &config).await?;
    let mut out = std::io::stdout().lock();
    for pump in &source.pumps {
        let host = &pump.member.host;
        let client = PumpClient::connect(host).await?;
        let (hello, stats) = (client.hello().await?, client.stats().await?);
        out.write_all(block(host, &hello, &stats).as_bytes())?;
    }
    for (id, _) in &source.offline {
        writeln!(out, "pump {id}: offline\n")?;
    }
    Ok(())
}

fn block(host: &str, hello: &HelloResponse, stats: &StatsResponse) -> String {
    let mut lines =
        vec![format!("pump {} at {host}: {}, cluster {}", hello.node_id, hello.state, hello.cluster_id)];
    let mut line = |name: &str, value: String| lines.push(format!("  {name:<28} {value}"));
    let uuid: String = hello.store_uuid.iter().map(|b| format!("{b:02x}")).collect();
    line("store", format!("{uuid}, opened {} time(s), protocol {}", hello.incarnation, hello.protocol));
    line("watermark", moment(stats.watermark));
    line("newest commit", moment(stats.max_commit_ts));
    line("safe point", moment(stats.safe_point));
    line("schema version", stats.schema_version.to_string());
    let oldest = if stats.pending == 0 {
        String::new()
    } else {
        format!(", oldest from {}", moment(stats.oldest_pending_ts))
    };
    line("undecided", format!("{} prewrite(s){oldest}", stats.pending));
    if !stats.poisoned.is_empty() {
        line("TAKES NO WRITES", stats.poisoned.clone());
    }
    for gap in &stats.gaps {
        line("GAP", format!("({}, {}] {}", gap.after, gap.through, gap.reason));
    }
    for (name, number) in &stats.numbers {
        line(name, number.to_string());
    }
    lines.join("\n") + "\n\n"
}

fn moment(raw: u64) -> String {
    if raw == 0 { "none".to_owned() } else { format!("{raw} ({})", utc(Ts::new(raw))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_names_what_is_wrong() {
        let hello =
            HelloResponse { node_id: "p1".into(), state: "online".into(), ..HelloResponse::default() };
        let healthy = StatsResponse { watermark: 405_367_742_791_680_000, ..StatsResponse::default() };
        let text = block("h:1", &hello, &healthy);
        assert!(text.contains("2019-01-01T15:07:00.000Z") && text.contains("0 prewrite(s)"), "{text}");
        assert!(!text.contains("TAKES NO WRITES"), "{text}");
        let sick =
            StatsResponse { poisoned: "disk full".into(), pending: 2, oldest_pending_ts: 7, ..healthy };
        assert!(block("h:1", &hello, &sick).contains("disk full"));
    }
}
