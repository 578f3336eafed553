//! How a destination database stands before a restore into it: what was restored last, and whether this one goes on with that.

use std::collections::BTreeSet;

use binlog_sink::{RecycleBin, Sink, SinkOptions, Target};
use binlog_types::{CommitTs, Range, SchemaVersion};

use crate::journal::{Entry, Journal, SCHEMA, State, plain};
use crate::{Config, Error, Selection, database};

/// A destination that no other restore is at work in.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) target: Target,
    pub(crate) journal: Journal,
    last: Option<Entry>,
}

/// What is to be done, as the record says.
#[derive(Debug)]
pub(crate) struct Way {
    /// What the record holds from now on.
    pub(crate) entry: Entry,
    /// The restore was cut off and goes on.
    pub(crate) resumed: bool,
    /// Where it goes on; before it, everything is there.
    pub(crate) after: CommitTs,
    pub(crate) version: SchemaVersion,
    /// Of one that goes on, for its progress was asked.
    sink: Option<Sink>,
    restart: bool,
}

impl Standing {
    /// Looks at the database that the configuration names; None: the destination is text.
    pub(crate) async fn open(config: &Config) -> Result<Option<Self>, Error> {
        let Some(target) = database::target(config)? else { return Ok(None) };
        let mut journal = Journal::open(&target).await?;
        let last = match journal.last().await {
            Err(Error::JournalUnreadable { .. }) if config.restart => None,
            last => last?,
        };
        Ok(Some(Standing { target, journal, last }))
    }

    /// Where `-continue` starts.
    pub(crate) fn end(&self) -> Result<CommitTs, Error> {
        end(self.last.as_ref())
    }

    /// Whether what is asked for begins, or goes on with what was cut off; and from where.
    pub(crate) async fn way(&self, config: &Config, selection: &Selection) -> Result<Way, Error> {
        let Range { after, through } = selection.asked;
        let identity = identity(config, selection);
        let state = State::Beginning;
        let mut entry =
            Entry { identity, state, after: Some(after), through, first: None, holes: Vec::new() };
        let version = SchemaVersion(0);
        let begin =
            |entry| Way { entry, resumed: false, after, version, sink: None, restart: config.restart };
        let Some(last) = &self.last else { return Ok(begin(entry)) };
        if config.go_on {
            // The destination lacks what those before had to leave out.
            entry.holes.clone_from(&last.holes);
        }
        if config.restart || last.state != State::Begun {
            if last.state == State::Finished && last.identity == entry.identity {
                tracing::warn!(
                    "this restore came to its end before, and is done again: rows of tables without a key come twice unless the tables are \
                     empty; -continue would go on from there"
                );
            }
            return Ok(begin(entry));
        }
        if last.identity != entry.identity {
            return Err(Error::OtherRestore { began: last.identity.clone(), asked: entry.identity });
        }
        let failed = |source| Error::Sink { position: after, source };
        let sink = open_sink(&self.target, config, selection).await?;
        let checkpoint = sink.checkpoint().await.map_err(failed)?;
        let entry = Entry { through: through.max(last.through), after: Some(after), ..last.clone() };
        Ok(Way {
            entry,
            resumed: true,
            after: checkpoint.map_or(after, |c| c.commit_ts.max(after)),
            version: checkpoint.map_or(version, |c| c.schema_version),
            sink: Some(sink),
            restart: false,
        })
    }
}

/// What a plan says of a destination, from reading its record.
#[derive(Debug)]
pub(crate) struct Outlook {
    target: Target,
    last: Option<Entry>,
}

impl Outlook {
    /// Looks at the database that the configuration names, without making anything there; None: the destination is text.
    pub(crate) async fn open(config: &Config) -> Result<Option<Self>, Error> {
        let Some(target) = database::target(config)? else { return Ok(None) };
        let last = match Journal::peek(&target).await {
            Err(Error::JournalUnreadable { .. }) if config.restart => None,
            last => last?,
        };
        Ok(Some(Outlook { target, last }))
    }

    /// Where `-continue` starts.
    pub(crate) fn end(&self) -> Result<CommitTs, Error> {
        end(self.last.as_ref())
    }

    /// Where a restore of `selection` goes on with what was cut off; None: it begins. With what was left out before.
    ///
    /// # Errors
    /// [`Error::OtherRestore`] where another one was cut off.
    pub(crate) async fn way(
        &self,
        config: &Config,
        selection: &Selection,
    ) -> Result<(Option<CommitTs>, Vec<String>), Error> {
        let Some(last) = &self.last else { return Ok((None, Vec::new())) };
        if config.restart || last.state != State::Begun {
            let holes = if config.go_on { last.holes.clone() } else { Vec::new() };
            return Ok((None, holes));
        }
        let asked = identity(config, selection);
        if last.identity != asked {
            return Err(Error::OtherRestore { began: last.identity.clone(), asked });
        }
        let position = Journal::position(&self.target, selection.input.cluster()).await?;
        let after = selection.asked.after;
        Ok((Some(position.map_or(after, |position| position.max(after))), last.holes.clone()))
    }
}

impl Way {
    /// Notes that it begins, where it does, and opens the sink.
    pub(crate) async fn start(
        &mut self,
        standing: &mut Standing,
        config: &Config,
        selection: &Selection,
    ) -> Result<Sink, Error> {
        for hole in &selection.holes {
            self.note_hole(&hole.to_string());
        }
        if let Some(sink) = self.sink.take() {
            standing.journal.write(&self.entry).await?;
            return Ok(sink);
        }
        if self.restart {
            standing.journal.forget_all().await?;
        }
        standing.journal.begin(&mut self.entry).await?;
        open_sink(&standing.target, config, selection).await
    }

    /// Keeps in mind what is left out; whether that is news.
    pub(crate) fn note_hole(&mut self, hole: &str) -> bool {
        let hole = plain(hole);
        let news = !self.entry.holes.contains(&hole);
        if news {
            self.entry.holes.push(hole);
        }
        news
    }

    /// Whether its first event is done.
    pub(crate) fn is_under_way(&self) -> bool {
        self.resumed && self.entry.first.is_some_and(|first| first <= self.after)
    }
}

/// Where `-continue` starts after `last`: at the start of what was cut off, too, for it goes on with that.
pub(crate) fn end(last: Option<&Entry>) -> Result<CommitTs, Error> {
    match last {
        None => Err(Error::Config("-continue: nothing was restored into this destination yet".to_owned())),
        Some(last) if last.state == State::Finished => Ok(last.through),
        Some(last) => last.after.ok_or_else(|| Error::Unfinished { began: last.identity.clone() }),
    }
}

async fn open_sink(target: &Target, config: &Config, selection: &Selection) -> Result<Sink, Error> {
    let count = |n: i64| usize::try_from(n).unwrap_or(1).max(1);
    let options = SinkOptions {
        cluster: selection.input.cluster(),
        workers: count(config.worker_count),
        batch_rows: count(config.txn_batch),
        checkpoint_schema: SCHEMA.to_owned(),
        // What the range brings back is known when its schema history is.
        recycle_bin: RecycleBin::Tables(BTreeSet::new()),
        ..SinkOptions::default()
    };
    let position = selection.asked.after;
    Sink::open(target, options).await.map_err(|source| Error::Sink { position, source })
}

/// What makes a restore the same one when its command is given again.
pub(crate) fn identity(config: &Config, selection: &Selection) -> String {
    let Range { after, .. } = selection.asked;
    let through = selection.stop.map_or("what there is".to_owned(), |through| through.to_string());
    let source = selection.input.identity();
    let tables = |list: &[crate::TableName]| -> Vec<String> {
        list.iter().map(|t| format!("{}.{}", t.db_name, t.tbl_name)).collect()
    };
    let mut out = format!("{source}, after {after}, through {through}");
    for (what, list) in [
        ("databases", [config.replicate_do_db.clone(), config.db.clone()].concat()),
        ("tables", [tables(&config.replicate_do_table), config.table.clone()].concat()),
        ("without databases", config.replicate_ignore_db.clone()),
        ("without tables", tables(&config.replicate_ignore_table)),
    ] {
        if !list.is_empty() {
            out.push_str(&format!(", {what} {}", list.join(" ")));
        }
    }
    // It is kept as it is compared.
    plain(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continuation_starts_where_the_last_one_ended_or_began() {
        let entry = |state, after: Option<u64>| Entry {
            identity: "a".to_owned(),
            state,
            after: after.map(CommitTs::new),
            through: CommitTs::new(9),
            first: None,
            holes: Vec::new(),
        };
        assert!(end(None).unwrap_err().to_string().contains("nothing was restored"));
        assert_eq!(end(Some(&entry(State::Finished, Some(5)))).unwrap(), CommitTs::new(9));
        for cut_off in [State::Begun, State::Beginning] {
            assert_eq!(end(Some(&entry(cut_off, Some(5)))).unwrap(), CommitTs::new(5));
            assert!(matches!(end(Some(&entry(cut_off, None))), Err(Error::Unfinished { .. })));
        }
    }
}
