//! Where the target's columns change under the statements: they are looked at anew, and what is not durable yet is applied again, as
//! it would be after a crash.

use std::collections::VecDeque;
use std::sync::Arc;

use binlog_catalog::Event;

use super::MySqlSink;
use super::columns::TargetColumns;
use super::state::State;
use crate::Error;

/// Attempts in a row that get nowhere before the error is given to the caller.
const ATTEMPTS: u32 = 3;

/// What was submitted and is not durable yet; kept only where the target's tables may differ from the source's.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// By the last ticket of each submission.
    events: VecDeque<(u64, Arc<Vec<Event>>)>,
    /// The last submission that is durable.
    done: u64,
    /// All of it is to be applied again.
    due: bool,
    attempts: u32,
}

impl Unfinished {
    /// Everything up to this ticket is durable.
    pub(super) fn done(&mut self, ticket: u64) {
        while let Some((last, _)) = self.events.pop_front_if(|(last, _)| *last <= ticket) {
            self.done = last;
            self.attempts = 0;
        }
    }
}

impl MySqlSink {
    pub(super) fn hold(&mut self, ticket: u64, events: Arc<Vec<Event>>) {
        if self.options.partial_columns {
            self.unfinished.events.push_back((ticket, events));
        }
    }

    /// Nothing runs any more, because of `error`: gives it back unless applying again may help.
    pub(super) fn failed(&mut self, error: Error) -> Result<(), Error> {
        let unfinished = &mut self.unfinished;
        if !self.options.partial_columns || !error.is_unknown_column() || unfinished.attempts >= ATTEMPTS {
            return Err(error);
        }
        tracing::warn!(%error, "the target lacks a column that it had: its tables are looked at anew");
        unfinished.attempts += 1;
        unfinished.due = true;
        Ok(())
    }

    /// Applies again what is due. Cut off, it begins anew.
    pub(super) async fn catch_up(&mut self) -> Result<(), Error> {
        if !self.unfinished.due {
            return Ok(());
        }
        if self.options.checkpoint {
            self.state = Some(State::open(&mut self.main, &self.options).await?);
        }
        self.columns = TargetColumns::new(self.options.partial_columns);
        self.shapes.clear();
        // Submissions get the tickets that they had.
        self.pipeline = self.start(self.unfinished.done);
        for (_, events) in self.unfinished.events.clone() {
            self.pass_on(&events).await?;
        }
        self.unfinished.due = false;
        Ok(())
    }
}
