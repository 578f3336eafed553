//! Who waits for the answer to a write. Whatever becomes of the writer, nobody waits for ever: each of the owners here answers
//! when it is dropped with answers owing, which only a panic does.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::shared::Shared;
use crate::{CompletionSink, Error, Write, WriteResult};

type Tokens = Vec<(u64, WriteResult)>;

/// Why the store takes no more writes after a panic, and what those get who waited meanwhile.
pub(crate) const PANICKED: &str = "the writer thread panicked";

/// The last resort: a panic of the sink itself ends here.
fn answer_all(sink: &Arc<dyn CompletionSink>, tokens: impl Iterator<Item = u64>) {
    let results: Tokens =
        tokens.map(|token| (token, Err(Error::Poisoned { reason: PANICKED.into() }))).collect();
    let _ = catch_unwind(AssertUnwindSafe(|| sink.completed(results)));
}

/// One write that waits for its answer.
pub(crate) struct Ticket(Option<(Arc<dyn CompletionSink>, u64)>);

impl Ticket {
    fn new(sink: &Arc<dyn CompletionSink>, token: u64) -> Self {
        Ticket(Some((Arc::clone(sink), token)))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some((sink, token)) = self.0.take() {
            answer_all(&sink, std::iter::once(token));
        }
    }
}

/// Writes of one sink, on their way to the writer.
pub(crate) struct Submission {
    sink: Arc<dyn CompletionSink>,
    writes: VecDeque<(u64, Write)>,
}

impl Submission {
    pub(crate) fn new(sink: Arc<dyn CompletionSink>, writes: Vec<(u64, Write)>) -> Self {
        Submission { sink, writes: writes.into() }
    }

    /// A write that has to wait.
    pub(crate) fn again(mut ticket: Ticket, write: Write) -> Option<Self> {
        ticket.0.take().map(|(sink, token)| Submission { sink, writes: [(token, write)].into() })
    }

    pub(crate) fn len(&self) -> usize {
        self.writes.len()
    }

    /// What is still to be taken.
    pub(crate) fn writes(&self) -> impl Iterator<Item = &Write> {
        self.writes.iter().map(|(_, write)| write)
    }

    /// Answers all with `error`, in one call.
    pub(crate) fn refuse(mut self, error: &Error) {
        let results = self.writes.drain(..).map(|(token, _)| (token, Err(error.clone()))).collect();
        self.sink.completed(results);
    }
}

impl Iterator for Submission {
    type Item = (Ticket, Write);

    fn next(&mut self) -> Option<Self::Item> {
        self.writes.pop_front().map(|(token, write)| (Ticket::new(&self.sink, token), write))
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        if !self.writes.is_empty() {
            answer_all(&self.sink, self.writes.drain(..).map(|(token, _)| token));
        }
    }
}

/// The results of one batch, by sink.
#[derive(Default)]
pub(crate) struct Results {
    sinks: Vec<(Arc<dyn CompletionSink>, Tokens)>,
    /// The batch is over: successes are true.
    over: bool,
}

impl Results {
    /// Notes a result.
    pub(crate) fn push(&mut self, mut ticket: Ticket, result: WriteResult) {
        if let Some((sink, token)) = ticket.0.take() {
            self.of(sink).push((token, result));
        }
    }

    fn of(&mut self, sink: Arc<dyn CompletionSink>) -> &mut Tokens {
        let same = |(other, _): &(Arc<dyn CompletionSink>, _)| Arc::ptr_eq(other, &sink);
        let at = self.sinks.iter().rposition(same).unwrap_or_else(|| {
            self.sinks.push((sink, Vec::new()));
            self.sinks.len() - 1
        });
        &mut self.sinks[at].1
    }

    /// Makes every success a failure.
    pub(crate) fn fail(&mut self, error: &Error) {
        for (_, result) in self.sinks.iter_mut().flat_map(|(_, results)| results) {
            if result.is_ok() {
                *result = Err(error.clone());
            }
        }
    }

    /// Tells everyone: one call per sink.
    pub(crate) fn deliver(mut self, shared: &Shared) {
        self.over = true;
        for (sink, results) in &mut self.sinks {
            let results = std::mem::take(results);
            shared.counters.writes.add(results.len());
            shared.counters.refused_writes.add(results.iter().filter(|(_, result)| result.is_err()).count());
            sink.completed(results);
        }
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        if !self.over {
            self.fail(&Error::Poisoned { reason: PANICKED.into() });
        }
        for (sink, results) in &mut self.sinks {
            if !results.is_empty() {
                let results = std::mem::take(results);
                let _ = catch_unwind(AssertUnwindSafe(|| sink.completed(results)));
            }
        }
    }
}
