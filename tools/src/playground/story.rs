//! What happens in a playground, step by step, told as it happens.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use binlog_cluster::{EmbeddedCluster, NodeKind, NodeState};
use binlog_reparo::utc;
use binlog_workload::{Limit, Options, Progress, Snapshot, Workload};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::process::Command;
use tokio::time::Instant;

use super::PlaygroundOptions;
use super::compare::{Comparison, compare};
use super::nodes::Nodes;
use super::site::{PUMPS, Site};

const DATABASE: &str = "bank";
const START_TIMEOUT: Duration = Duration::from_secs(30);
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(200);

fn tell_line(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("write to stdout")
}

/// Plays everything; Ok only when all is proven.
pub(crate) async fn tell(site: &Site, options: &PlaygroundOptions, nodes: &mut Nodes) -> anyhow::Result<()> {
    tell_line(&format!("TiDB Binlog playground in {}\n", site.dir.display()))?;
    tell_line("1. Two pumps and a drainer start; there is no TiDB and no PD on this machine.")?;
    start_pumps(site, nodes).await?;
    start_drainer(site, nodes)?;

    tell_line(&format!(
        "\n2. A bank goes to work: {} sessions for {} s, seed {}.",
        options.sessions, options.seconds, options.seed
    ))?;
    let cluster = EmbeddedCluster::open(&site.cluster())?;
    let settings = Options { seed: options.seed, database: DATABASE.to_owned(), ..Options::default() };
    let mut bank = Workload::connect(&cluster, settings).await?;
    bank.create_schema().await?;
    let started = Instant::now();
    work(&mut bank, options).await?;
    let halfway = bank.snapshot().await?;
    let done = work(&mut bank, options).await?;
    let before = bank.snapshot().await?;
    let rate = done.committed as f64 / started.elapsed().as_secs_f64();
    tell_line(&format!(
        "   {} transactions committed ({rate:.0}/s), {} rolled back, {} rows changed. {} rows are there now.",
        done.committed,
        done.rolled_back,
        done.rows,
        before.rows()
    ))?;
    if bank.total_cents() != bank.expected_cents() {
        bail!("the bank's own books are wrong: {} cents, not {}", bank.total_cents(), bank.expected_cents());
    }

    tell_line(
        "\n3. The drainer replicates to SQLite. When it has caught up, the replica is compared with what was written:",
    )?;
    let replica = site.replica();
    let caught_up =
        wait(nodes, &replica, &before, "the replica to equal what was written", Comparison::equal).await?;
    tell_line(&caught_up.to_string())?;

    tell_line("\n4. The accident.")?;
    let deleted = bank.delete_all("accounts").await?;
    tell_line(&format!("   DELETE FROM {DATABASE}.accounts;      -- the WHERE is missing: {deleted} rows"))?;
    let dropped = bank.drop_database().await?;
    tell_line(&format!(
        "   DROP DATABASE {DATABASE};             -- and then this, before {}",
        utc(dropped.ts())
    ))?;
    let lost = wait(nodes, &replica, &before, "the replica to lose the tables", Comparison::gone).await?;
    tell_line("   The replica followed, as replicas do:")?;
    tell_line(&lost.to_string())?;

    tell_line(&format!("\n5. The restore: to {}, the moment before the accident.", utc(before.ts)))?;
    let equal = restore(site, &before, "restored.sqlite").await?;
    tell_line(&format!(
        "\n6. And because every moment is there: to {}, when half the work was done.",
        utc(halfway.ts)
    ))?;
    let halfway_equal = restore(site, &halfway, "restored-halfway.sqlite").await?;
    nodes.check()?;
    if !(equal && halfway_equal) {
        bail!("a restored table is not what it should be");
    }
    tell_line("\nPROVEN: every table has been restored, row for row, at both moments.")
}

async fn start_pumps(site: &Site, nodes: &mut Nodes) -> anyhow::Result<()> {
    let config = site.file("pump.toml");
    // Small disks are for playing, too.
    std::fs::write(&config, "gc = \"1\"\n[storage]\nstop-write-at-available-space = \"256 MiB\"\n")?;
    for (at, address) in site.pumps.iter().enumerate() {
        let name = format!("pump-{}", at + 1);
        let args = args(&[
            ("-node-id", name.as_ref()),
            ("-addr", address.as_ref()),
            ("-data-dir", site.file(&name).as_ref()),
            ("-cluster-dir", site.cluster().as_ref()),
            ("-config", config.as_ref()),
        ]);
        show("pump", &args)?;
        nodes.start(&name, &site.program("pump"), &args, &site.file(&format!("{name}.log")))?;
        // The first one becomes the oracle.
        wait_online(site, nodes, at + 1).await?;
    }
    Ok(())
}

async fn wait_online(site: &Site, nodes: &mut Nodes, count: usize) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        nodes.check()?;
        if let Ok(cluster) = EmbeddedCluster::open(&site.cluster())
            && let Ok(list) = cluster.registry().list(NodeKind::Pump).await
            && list.iter().filter(|node| node.state == NodeState::Online).count() >= count
            && cluster.oracle_host()?.is_some()
        {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("pump {count} of {PUMPS} was not online after {} s", START_TIMEOUT.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
}

fn start_drainer(site: &Site, nodes: &mut Nodes) -> anyhow::Result<()> {
    let args = args(&[
        ("-node-id", "drainer-1".as_ref()),
        ("-addr", site.drainer.as_ref()),
        ("-data-dir", site.file("drainer").as_ref()),
        ("-cluster-dir", site.cluster().as_ref()),
        ("-initial-commit-ts", "0".as_ref()),
        ("-dest-db-type", "sqlite".as_ref()),
        ("-dest-path", site.replica().as_ref()),
    ]);
    show("drainer", &args)?;
    nodes.start("drainer", &site.program("drainer"), &args, &site.file("drainer.log"))
}

fn args(pairs: &[(&str, &std::ffi::OsStr)]) -> Vec<OsString> {
    pairs.iter().flat_map(|(name, value)| [OsString::from(name), (*value).to_owned()]).collect()
}

fn show(program: &str, args: &[OsString]) -> anyhow::Result<()> {
    let words: Vec<_> = args.iter().map(|a| a.to_string_lossy()).collect();
    tell_line(&format!("   $ {program} {}", words.join(" ")))
}

/// Half of the bank's working time.
async fn work(bank: &mut Workload, options: &PlaygroundOptions) -> anyhow::Result<Progress> {
    let time = Duration::from_millis(options.seconds * 1000 / 2);
    let bar = ProgressBar::new(time.as_millis() as u64);
    let style =
        ProgressStyle::with_template("   [{bar:30}] {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    let started = Instant::now();
    let done = bank
        .run(options.sessions, Limit::Time(time), |progress| {
            bar.set_position(started.elapsed().as_millis() as u64);
            bar.set_message(format!("{} transactions, {} rows", progress.committed, progress.rows));
        })
        .await;
    bar.finish_and_clear();
    Ok(done?)
}

/// Compares until it is as it should be.
async fn wait(
    nodes: &mut Nodes,
    path: &Path,
    snapshot: &Snapshot,
    what: &str,
    enough: impl Fn(&Comparison) -> bool,
) -> anyhow::Result<Comparison> {
    let deadline = Instant::now() + CATCH_UP_TIMEOUT;
    loop {
        nodes.check()?;
        // The drainer makes the file when it has something to write.
        let seen = if path.exists() {
            compare(path, snapshot).await
        } else {
            Err(anyhow::anyhow!("no such file yet"))
        };
        match seen {
            Ok(comparison) if enough(&comparison) => return Ok(comparison),
            _ if Instant::now() < deadline => tokio::time::sleep(POLL).await,
            Ok(comparison) => {
                bail!("waited {} s for {what}; it is:\n{comparison}", CATCH_UP_TIMEOUT.as_secs())
            }
            Err(error) => {
                return Err(error.context(format!("waited {} s for {what}", CATCH_UP_TIMEOUT.as_secs())));
            }
        }
    }
}

/// Runs reparo into a fresh file and compares it; true if equal.
async fn restore(site: &Site, to: &Snapshot, file: &str) -> anyhow::Result<bool> {
    let path = site.file(file);
    let mut args = vec![OsString::from("-from-pump")];
    args.extend(self::args(&[
        ("-cluster-dir", site.cluster().as_ref()),
        ("-stop-tso", to.ts.to_string().as_ref()),
        ("-dest-type", "sqlite".as_ref()),
        ("-dest-path", path.as_ref()),
        ("-log-file", site.file("reparo.log").as_ref()),
    ]));
    show("reparo", &args)?;
    let started = Instant::now();
    let child = Command::new(site.program("reparo"))
        .args(&args)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .status();
    let status = child.await.context("start reparo")?;
    if !status.success() {
        bail!("reparo ended with {status}; its log is {}", site.file("reparo.log").display());
    }
    let comparison = compare(&path, to).await?;
    tell_line(&format!(
        "   Done in {:.1} s. The restored file, compared with what was written:",
        started.elapsed().as_secs_f64()
    ))?;
    tell_line(&comparison.to_string())?;
    Ok(comparison.equal())
}

/// Says where things are and what to try next. `running`: the ids of the processes that were left.
pub(crate) fn farewell(site: &Site, running: Option<&[u32]>) -> anyhow::Result<()> {
    let file = |name: &str| site.file(name).display().to_string();
    tell_line("\nThe files:")?;
    for (name, what) in [
        ("pump-1", "a pump's data directory (and pump-2, with logs beside them)"),
        ("replica.sqlite", "the drainer's replica, without the bank"),
        ("restored.sqlite", "the bank just before the accident"),
        ("restored-halfway.sqlite", "the bank at half time"),
    ] {
        tell_line(&format!("  {:<60} {what}", file(name)))?;
    }
    tell_line("\nTo try next:")?;
    let tools = site.program("tools").display().to_string();
    let source = match running {
        Some(_) => format!("--cluster-dir {}", site.cluster().display()),
        None => format!("--store {} --store {}", file("pump-1"), file("pump-2")),
    };
    tell_line(&format!("  {tools} dump-range {source} --table {DATABASE}.transfers --limit 5"))?;
    tell_line(&format!("  {tools} dump-range {source} --table {DATABASE}.accounts --json | tail -n 3"))?;
    tell_line(&format!(
        "  sqlite3 {} 'SELECT * FROM \"{DATABASE}.accounts\" LIMIT 5'",
        file("restored.sqlite")
    ))?;
    if let Some(ids) = running {
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        let reparo = site.program("reparo").display().to_string();
        tell_line(&format!("  {tools} stat {source}"))?;
        tell_line(&format!(
            "  {reparo} -from-pump -cluster-dir {} -dest-type sql | less",
            site.cluster().display()
        ))?;
        tell_line(&format!("\nThe pumps and the drainer are running. To stop them: kill {}", ids.join(" ")))?;
    }
    tell_line(&format!("When you are done: rm -r {}", site.dir.display()))
}
