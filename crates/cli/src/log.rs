//! The unified log format of TiDB's programs:
//! `[2026/11/22 09:10:53.888 +00:00] [INFO] [serve.rs:27] ["query node"] [type=pump]`.

use std::fmt;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context as _;
use jiff::Zoned;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::rotate::{LIMIT, RotatingFile};

/// Where the log goes when no file is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// As the original's pump does.
    Stdout,
    /// For programs whose stdout carries data.
    Stderr,
}

/// The target of lines that are written whatever the level.
const ALWAYS: &str = "always";

/// Installs the subscriber. A log file is put aside at 300 MB. `level` is debug, info, warn, error or fatal in any case, empty for info; an empty `file` means `to`.
///
/// # Errors
/// An unknown level, a file that cannot be opened, or a subscriber that is already there.
pub fn init_logging(level: &str, file: &str, to: LogTo) -> anyhow::Result<()> {
    let level = match level.to_ascii_lowercase().as_str() {
        "debug" => LevelFilter::DEBUG,
        "" | "info" => LevelFilter::INFO,
        "warn" | "warning" => LevelFilter::WARN,
        "error" | "fatal" | "panic" | "dpanic" => LevelFilter::ERROR,
        other => anyhow::bail!("unknown log level {other:?}: use debug, info, warn, error or fatal"),
    };
    let writer = match (file, to) {
        ("", LogTo::Stdout) => BoxMakeWriter::new(std::io::stdout),
        ("", LogTo::Stderr) => BoxMakeWriter::new(std::io::stderr),
        (path, _) => {
            let file = RotatingFile::open(Path::new(path), LIMIT)
                .with_context(|| format!("open log file {path}"))?;
            BoxMakeWriter::new(Mutex::new(file))
        }
    };
    // What libraries have to say below info drowns our own words.
    let others = level.min(LevelFilter::INFO);
    let targets = Targets::new()
        .with_default(others)
        .with_targets(["binlog", "pump", "drainer", "reparo", "tools", "fatal"].map(|own| (own, level)))
        .with_target(ALWAYS, LevelFilter::INFO);
    tracing_subscriber::registry()
        .with(targets)
        .with(tracing_subscriber::fmt::layer().event_format(UnifiedFormat).with_writer(writer))
        .try_init()
        .map_err(|e| anyhow::anyhow!("install the log: {e}"))
}

/// The first line of every program's log, whatever the level: `["Welcome to Pump"] ["Release Version"=v0.1.0] …`.
pub fn log_welcome(program: &str) {
    let build = crate::version::build();
    tracing::info!(
        target: ALWAYS,
        {
            "Release Version" = build.release,
            "Git Commit Hash" = build.commit,
            "Build TS" = build.built,
            "Go Version" = build.language,
            "Go OS/Arch" = build.platform,
        },
        "Welcome to {program}"
    );
}

/// The line of an end that comes before there is a log.
#[track_caller]
pub(crate) fn fatal_line(message: &str, error: &str) -> String {
    let at = std::panic::Location::caller();
    let file = at.file().rsplit('/').next().unwrap_or(at.file());
    let mut line = Line::default();
    line.field("error", error);
    let mut text = format!("[{}] [FATAL] [{file}:{}] [", now(), at.line());
    // Writing to a String cannot fail.
    let _ = write_quoted(&mut text, message);
    text.push(']');
    text.push_str(&line.fields);
    text
}

struct UnifiedFormat;

impl<S, N> FormatEvent<S, N> for UnifiedFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let meta = event.metadata();
        let level = match *meta.level() {
            // tracing knows no such level: the target says it.
            Level::ERROR if meta.target() == "fatal" => "FATAL",
            Level::ERROR => "ERROR",
            Level::WARN => "WARN",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        let file = meta.file().map_or("unknown", |path| path.rsplit('/').next().unwrap_or(path));
        let mut line = Line::default();
        event.record(&mut line);
        write!(out, "[{}] [{level}] [{file}:{}] [", now(), meta.line().unwrap_or(0))?;
        write_quoted(&mut out, &line.message)?;
        writeln!(out, "]{}", line.fields)
    }
}

fn now() -> String {
    let now = Zoned::now();
    format!("{}", now.strftime("%Y/%m/%d %H:%M:%S%.3f %:z"))
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn field(&mut self, name: &str, value: &str) {
        self.fields.push_str(" [");
        let _ = write_quoted(&mut self.fields, name.trim_start_matches("r#"));
        self.fields.push('=');
        let _ = write_quoted(&mut self.fields, value);
        self.fields.push(']');
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" { self.message.push_str(value) } else { self.field(field.name(), value) }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" { self.message = text } else { self.field(field.name(), &text) }
    }
}

/// Quotes as the original's encoder: only where a byte asks for it.
fn write_quoted(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    if text.bytes().all(|b| b > b' ' && !matches!(b, b'\\' | b'"' | b'[' | b']' | b'=')) {
        return out.write_str(text);
    }
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if u32::from(c) < 0x20 => write!(out, "\\u{:04x}", u32::from(c))?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_awkward_text_is_quoted() {
        let quoted = |text: &str| {
            let mut out = String::new();
            write_quoted(&mut out, text).unwrap();
            out
        };
        assert_eq!(quoted("pump"), "pump");
        assert_eq!(quoted(""), "");
        assert_eq!(quoted("query node"), "\"query node\"");
        assert_eq!(quoted("a=b\n\"x\""), "\"a=b\\n\\\"x\\\"\"");
    }

    #[test]
    fn an_early_end_is_a_line_of_the_log() {
        let line = fatal_line("verifying flags failed. See 'pump --help'.", "GC is 0");
        let (time, rest) = line.split_at(line.find("] ").unwrap() + 2);
        assert!(time.starts_with("[20") && time.len() == 33, "{time}");
        let (place, rest) = rest.split_once("] [\"").unwrap();
        assert!(place.starts_with("[FATAL] [log.rs:"), "{place}");
        assert_eq!(rest, "verifying flags failed. See 'pump --help'.\"] [error=\"GC is 0\"]");
    }

    #[test]
    fn a_wrong_level_is_refused() {
        assert!(init_logging("loud", "", LogTo::Stderr).is_err());
    }
}
