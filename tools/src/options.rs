//! The command line of `tools`.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::dump::{self, DumpOptions, Style};
use crate::playground::{self, PlaygroundOptions};
use crate::stat;
use crate::verify;

/// All subcommands.
pub fn command() -> Command {
    Command::new("tools")
        .about("Looks into pumps and their stores.")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            source_args(Command::new("dump-range"))
                .about("Prints the binlogs of a range, decoded; from running pumps or from store directories")
                .arg(
                    many("store", "DIR", "Read this store (a pump's data directory), instead of asking pumps; repeatable")
                        .value_parser(value_parser!(PathBuf)),
                )
                .arg(text("start", "TIME", "Where to start, inclusive: a TSO or a time with its zone"))
                .arg(text("stop", "TIME", "Where to stop, inclusive; without it: what is there now"))
                .arg(many("db", "DB", "Only this database; repeatable"))
                .arg(many("table", "DB.TABLE", "Only this table; repeatable"))
                .arg(switch("json", "One JSON object a line"))
                .arg(switch("raw", "The records as they are stored: nothing is decoded by schema"))
                .arg(number("limit", "N", "Stop after so many transactions"))
                .arg(switch("allow-gaps", "Print what is there where binlogs are purged or missing")),
        )
        .subcommand(source_args(Command::new("stat")).about("Shows what each pump holds"))
        .subcommand(
            Command::new("verify")
                .about("Reads stores and checks every checksum; names each stretch that is damaged or missing")
                .arg(
                    many("store", "DIR", "A store, or the data directory of a stopped pump; repeatable")
                        .required(true)
                        .value_parser(value_parser!(PathBuf)),
                ),
        )
        .subcommand(
            Command::new("playground")
                .about("Pumps, a drainer, a bank's traffic, an accident and the restore, on this machine alone")
                .arg(
                    text("dir", "DIR", "Where everything goes; must be empty or not exist [default: a new temporary directory]")
                        .value_parser(value_parser!(PathBuf)),
                )
                .arg(number("seconds", "N", "How long the bank is busy").default_value("15"))
                .arg(number("sessions", "N", "Connections at once").default_value("8"))
                .arg(number("seed", "N", "Decides what the bank does").default_value("1"))
                .arg(switch("keep", "Leave the pumps and the drainer running")),
        )
}

fn source_args(command: Command) -> Command {
    command
        .arg(many("from", "HOST:PORT", "A pump; repeatable, comma-separated"))
        .arg(
            text("cluster-dir", "DIR", "The directory of a cluster without PD: ask all its pumps")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(many("pd-urls", "URL", "PD: ask all pumps in its registry; comma-separated"))
}

fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn many(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    text(name, value, help).action(ArgAction::Append).value_delimiter(',')
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

fn number(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    text(name, value, help).value_parser(value_parser!(u64))
}

fn strings(matches: &ArgMatches, name: &str) -> Vec<String> {
    matches.get_many::<String>(name).into_iter().flatten().cloned().collect()
}

/// Which pumps to ask.
#[derive(Clone, Debug, Default)]
pub struct PumpArgs {
    from: Vec<String>,
    cluster_dir: PathBuf,
    pd_urls: Vec<String>,
}

impl PumpArgs {
    fn new(matches: &ArgMatches) -> Self {
        PumpArgs {
            from: strings(matches, "from"),
            cluster_dir: matches.get_one::<PathBuf>("cluster-dir").cloned().unwrap_or_default(),
            pd_urls: strings(matches, "pd-urls"),
        }
    }

    fn is_empty(&self) -> bool {
        self.from.is_empty() && self.pd_urls.is_empty() && self.cluster_dir.as_os_str().is_empty()
    }

    /// As reparo is asked.
    pub(crate) fn fill(&self, config: &mut binlog_reparo::Config) {
        config.from_pump = if self.from.is_empty() { "registry".to_owned() } else { self.from.join(",") };
        config.cluster_dir.clone_from(&self.cluster_dir);
        config.pd_urls.clone_from(&self.pd_urls);
    }
}

/// Runs the subcommand that `matches` names.
///
/// # Errors
/// Whatever keeps it from ending well; the text is for people.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    match matches.subcommand() {
        Some(("dump-range", args)) => dump::run(&dump_options(args)?).await,
        Some(("stat", args)) => stat::run(&pumps(args)?).await,
        Some(("verify", args)) => {
            let stores: Vec<PathBuf> =
                args.get_many::<PathBuf>("store").into_iter().flatten().cloned().collect();
            verify::run(&stores)
        }
        Some(("playground", args)) => playground::run(playground_options(args)?).await,
        Some((other, _)) => bail!("unknown subcommand {other}"),
        None => bail!("no subcommand"),
    }
}

fn pumps(matches: &ArgMatches) -> anyhow::Result<PumpArgs> {
    let pumps = PumpArgs::new(matches);
    if pumps.is_empty() {
        bail!("say whom to ask: --from HOST:PORT, --cluster-dir DIR or --pd-urls URL");
    }
    Ok(pumps)
}

fn dump_options(matches: &ArgMatches) -> anyhow::Result<DumpOptions> {
    let stores: Vec<PathBuf> = matches.get_many::<PathBuf>("store").into_iter().flatten().cloned().collect();
    let pumps = PumpArgs::new(matches);
    match (stores.is_empty(), pumps.is_empty()) {
        (true, true) => {
            bail!("say what to read: --store DIR, --from HOST:PORT, --cluster-dir DIR or --pd-urls URL")
        }
        (false, false) => bail!("--store reads directories, the others ask pumps: give one of them"),
        _ => {}
    }
    let style = match (matches.get_flag("raw"), matches.get_flag("json")) {
        (false, json) => Style::Decoded { json },
        (true, json) => Style::Raw { json },
    };
    let mut config = binlog_reparo::Config {
        start_datetime: matches.get_one::<String>("start").cloned().unwrap_or_default(),
        stop_datetime: matches.get_one::<String>("stop").cloned().unwrap_or_default(),
        db: strings(matches, "db"),
        table: strings(matches, "table"),
        allow_gaps: matches.get_flag("allow-gaps"),
        ..binlog_reparo::Config::default()
    };
    if stores.is_empty() {
        pumps.fill(&mut config);
    } else {
        config.from_store = stores;
    }
    if matches!(style, Style::Raw { .. }) && !(config.db.is_empty() && config.table.is_empty()) {
        bail!("--raw decodes nothing by schema, so it cannot filter by --db or --table");
    }
    Ok(DumpOptions { config, style, limit: matches.get_one::<u64>("limit").copied() })
}

fn playground_options(matches: &ArgMatches) -> anyhow::Result<PlaygroundOptions> {
    let number =
        |name: &str| matches.get_one::<u64>(name).copied().with_context(|| format!("--{name} is missing"));
    let sessions = number("sessions")?;
    if !(1..=binlog_workload::MAX_SESSIONS as u64).contains(&sessions) {
        bail!("--sessions must be between 1 and {}", binlog_workload::MAX_SESSIONS);
    }
    Ok(PlaygroundOptions {
        dir: matches.get_one::<PathBuf>("dir").cloned(),
        seconds: number("seconds")?,
        sessions: sessions as usize,
        seed: number("seed")?,
        keep: matches.get_flag("keep"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> anyhow::Result<DumpOptions> {
        let matches = command().try_get_matches_from([&["tools", "dump-range"], args].concat())?;
        dump_options(matches.subcommand().context("subcommand")?.1)
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn a_dump_reads_either_pumps_or_stores() {
        let options =
            parse(&["--from", "a:1,b:2", "--from", "c:3", "--table", "x.y", "--limit", "5"]).unwrap();
        assert_eq!(options.config.from_pump, "a:1,b:2,c:3");
        assert_eq!(options.limit, Some(5));
        assert_eq!(parse(&["--store", "d", "--store", "e", "--raw"]).unwrap().config.from_store.len(), 2);
        for bad in [&[][..], &["--store", "d", "--from", "a:1"], &["--from", "a:1", "--raw", "--db", "x"]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
