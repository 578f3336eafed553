//! How far a restore is: a bar on a terminal, now and then a line of log elsewhere.

use std::time::Duration;

use binlog_types::{CommitTs, Range};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::{Counts, utc};

const LOG_EVERY: Duration = Duration::from_secs(5);
const STEPS: u64 = 10_000;

/// Shows progress on stderr.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    /// Such as `restoring`.
    doing: &'static str,
    range: Range,
    /// Where the fraction counts from: the first record, if the range starts at the beginning of time.
    origin: CommitTs,
    started: Instant,
    logged: Instant,
}

impl Progress {
    /// For work on `range` that starts now.
    pub(crate) fn new(range: Range, doing: &'static str) -> Self {
        let target = ProgressDrawTarget::stderr();
        let bar = (!target.is_hidden()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(STEPS), target);
            let style = ProgressStyle::with_template("{spinner} [{bar:30}] {percent:>3}%  {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        let now = Instant::now();
        Progress { bar, doing, range, origin: range.after, started: now, logged: now }
    }

    /// Everything at or below `position` is done.
    pub(crate) fn update(&mut self, counts: &Counts, first: Option<CommitTs>, position: CommitTs) {
        if self.origin.raw() == 0
            && let Some(first) = first
        {
            self.origin = first;
        }
        let elapsed = self.started.elapsed();
        let fraction = fraction(self.origin, self.range.through, position);
        let rate = counts.rows() as f64 / elapsed.as_secs_f64().max(0.001);
        let left = eta(elapsed, fraction);
        if let Some(bar) = &self.bar {
            bar.set_position((fraction * STEPS as f64) as u64);
            bar.set_message(format!("{} rows, {rate:.0}/s, at {}{left}", counts.rows(), utc(position.ts())));
        } else if self.logged.elapsed() >= LOG_EVERY {
            self.logged = Instant::now();
            let (rows, percent) = (counts.rows(), (fraction * 100.0) as u64);
            tracing::info!(
                rows,
                rows_per_second = rate as u64,
                percent,
                position = position.raw(),
                at = utc(position.ts()),
                "{}{left}",
                self.doing
            );
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The share of the range's time that lies behind `position`.
fn fraction(origin: CommitTs, through: CommitTs, position: CommitTs) -> f64 {
    let span = through.raw().saturating_sub(origin.raw());
    if span == 0 {
        return 1.0;
    }
    (position.raw().saturating_sub(origin.raw()) as f64 / span as f64).clamp(0.0, 1.0)
}

fn eta(elapsed: Duration, fraction: f64) -> String {
    if fraction < 0.01 || elapsed.as_secs() < 1 {
        return String::new();
    }
    let left = elapsed.as_secs_f64() * (1.0 - fraction) / fraction;
    format!(", about {left:.0} s left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fraction_stays_between_nothing_and_all() {
        let at = |o, t, p| fraction(CommitTs::new(o), CommitTs::new(t), CommitTs::new(p));
        assert_eq!(at(100, 200, 150), 0.5);
        assert_eq!(at(100, 200, 50), 0.0);
        assert_eq!(at(100, 200, 500), 1.0);
        assert_eq!(at(100, 100, 100), 1.0);
        assert_eq!(eta(Duration::from_secs(10), 0.5), ", about 10 s left");
        assert_eq!(eta(Duration::from_secs(10), 0.0), "");
    }
}
