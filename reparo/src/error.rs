//! Why a restore did not happen, or not to its end.

use std::path::PathBuf;

use binlog_types::{CommitTs, JobId, NodeId, SchemaVersion};

use crate::Hole;

/// An error of a restore. Whatever was applied before it stays applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Config(String),
    /// An option belongs to another command.
    #[error("{0} belongs to a restore and its plan")]
    OfRestore(&'static str),
    /// The cluster's registry failed.
    #[error("cannot list the pumps")]
    Cluster(#[from] binlog_cluster::Error),
    /// An entry of the registry is unreadable.
    #[error(
        "the registry's entry {key} is no node: {why}; a pump may be missing, name the addresses with -from-pump=HOST:PORT,…"
    )]
    Registry {
        /// Which entry.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// The registry or the list of addresses names nobody.
    #[error(
        "no pump to read from: the registry lists none that is not offline; name addresses with -from-pump=HOST:PORT,…"
    )]
    NoPump,
    /// The registry knows a pump that was not named.
    #[error(
        "the registry lists pump {pump} at {host} too, which was not named: the range would lack its binlogs"
    )]
    NotNamed {
        /// Who.
        pump: NodeId,
        /// `host:port`.
        host: String,
    },
    /// A pump cannot be asked.
    #[error("pump {host} cannot be asked: {message}; all pumps are needed for a complete range")]
    Unreachable {
        /// `host:port`.
        host: String,
        /// Why.
        message: String,
    },
    /// Two of the named pumps belong to different clusters.
    #[error("pump {host} belongs to cluster {cluster}, the others to {expected}")]
    MixedClusters {
        /// `host:port`.
        host: String,
        /// Its cluster.
        cluster: u64,
        /// The others'.
        expected: u64,
    },
    /// The range begins where a pump or a store no longer has binlogs.
    #[error(
        "{holder} no longer holds all binlogs above {after}: what lies at or below {safe_point} is purged. Start from a newer backup \
         (-after-tso={safe_point} or above), or accept the hole with -allow-gaps"
    )]
    Purged {
        /// Who, such as `pump p1`.
        holder: String,
        /// The range's exclusive lower bound.
        after: CommitTs,
        /// Where the binlogs begin, exclusive.
        safe_point: CommitTs,
    },
    /// The range begins before anybody who is read was there.
    #[error(
        "the range begins after {after}, but the first of the pumps that are read began at {first} ({at}): what others held before is not known. \
         Start there or later, leave the start out to take all there is, or accept the hole with -allow-gaps"
    )]
    Unknown {
        /// The range's exclusive lower bound.
        after: CommitTs,
        /// Where the binlogs begin, exclusive.
        first: CommitTs,
        /// Its moment.
        at: String,
    },
    /// Something inside the range is known to be missing.
    #[error(
        "binlogs inside the range are missing: {0}. Accept the hole with -allow-gaps, or end the range before it"
    )]
    Missing(Hole),
    /// The range ends where a pump or a store has not come to.
    #[error("the range ends at {through}, but {holder} is complete only through {watermark}")]
    NotYet {
        /// Who, such as `pump p1`.
        holder: String,
        /// How far it is.
        watermark: CommitTs,
        /// Where the range ends.
        through: CommitTs,
    },
    /// A directory that is read cannot be opened or read.
    #[error("store {path}")]
    Store {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<binlog_storage::Error>,
    },
    /// A directory holds no store, or does not fit the others.
    #[error("store {path}: {why}")]
    BadStore {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Only some of a cluster's stores were given.
    #[error(
        "{holder} knows of pump {pump} (seen {seen}), whose store is not among those that are read: the range would lack its binlogs. \
         Give its directory too (-from-store), or accept that with -allow-gaps"
    )]
    PeerAbsent {
        /// Who knows.
        holder: String,
        /// Who is absent.
        pump: NodeId,
        /// Until when it was there.
        seen: String,
    },
    /// Binlog files cannot be read further.
    #[error("cannot read the binlog files")]
    Archive(#[from] binlog_archive::Error),
    /// A record in a store does not mean anything.
    #[error("the record at commit_ts {commit_ts} cannot be read: {what}")]
    Record {
        /// Which.
        commit_ts: CommitTs,
        /// What is wrong.
        what: String,
    },
    /// A record needs a schema that the stores do not have.
    #[error(
        "the record at commit_ts {commit_ts} needs schema version {need}, the stores' history ends at {known}"
    )]
    NoVersion {
        /// Which record.
        commit_ts: CommitTs,
        /// What it needs.
        need: SchemaVersion,
        /// What there is.
        known: SchemaVersion,
    },
    /// A DDL's job is in no store.
    #[error("the DDL at commit_ts {commit_ts} is of job {job}, which the stores' history lacks")]
    NoJob {
        /// Which record.
        commit_ts: CommitTs,
        /// TiDB's job.
        job: JobId,
    },
    /// The thread that reads ended without saying why.
    #[error("reading ended in a panic at {position}")]
    ReaderDied {
        /// Everything at or below it is restored.
        position: CommitTs,
    },
    /// Nothing came for a long time.
    #[error("no progress beyond {position} for {seconds} s; waiting for {waits_for}")]
    Stalled {
        /// Everything at or below it is restored.
        position: CommitTs,
        /// How long.
        seconds: u64,
        /// What the stream waits for.
        waits_for: String,
    },
    /// Reading failed.
    #[error("cannot read the range further than {position}")]
    Pull {
        /// Everything at or below it is restored.
        position: CommitTs,
        /// Why.
        #[source]
        source: binlog_pull::Error,
    },
    /// The destination database refused.
    #[error("cannot restore further than {position}")]
    Sink {
        /// Everything at or below it is restored.
        position: CommitTs,
        /// Why.
        #[source]
        source: binlog_sink::Error,
    },
    /// The output cannot be written.
    #[error("cannot write to {path}")]
    Output {
        /// A path, or `stdout`.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A condition cannot be used.
    #[error(transparent)]
    Condition(#[from] crate::ConditionError),
    /// A temporary file cannot be written or read.
    #[error("no temporary files in {directory}; -temp-dir names another place")]
    Temporary {
        /// Where.
        directory: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Even one part of the temporary files does not fit into memory.
    #[error(
        "the rows take more than {parts} times the {memory} bytes that -memory gives them: give more, or choose a smaller range or fewer tables"
    )]
    TooManyRows {
        /// The budget.
        memory: usize,
        /// Number of parts.
        parts: usize,
    },
    /// A row of an old version of its table cannot be read as one of the present version.
    #[error("table {table}: a row cannot be carried over to the table's present columns")]
    Projection {
        /// Which.
        table: String,
        /// Why.
        #[source]
        source: binlog_catalog::Error,
    },
    /// The destination's record of restores fails.
    #[error("cannot note in the destination (schema tidb_binlog_reparo) what is being restored")]
    Journal {
        /// Why.
        #[source]
        source: binlog_sink::Error,
    },
    /// The destination's record of restores was changed by somebody else.
    #[error(
        "the destination's record of restores (tidb_binlog_reparo.restore) is not what reparo writes: {row}; -restart begins anew, after which rows \
         of tables without a key that are there already come twice"
    )]
    JournalUnreadable {
        /// What is there.
        row: String,
    },
    /// Another restore is at work.
    #[error("another reparo is restoring into this destination (it holds the lock tidb_binlog_reparo)")]
    Busy,
    /// Another restore was cut off.
    #[error(
        "the destination holds the first part of another restore, which was cut off: {began}. Asked for is: {asked}. Give the command of that one to finish it, or -restart to leave it as it is and begin this one"
    )]
    OtherRestore {
        /// What was begun.
        began: String,
        /// What was asked for.
        asked: String,
    },
    /// Text has no end to continue from.
    #[error("-continue needs a database as destination: it knows where it is")]
    NoDatabase,
    /// There is no end to continue from.
    #[error(
        "the last restore into this destination was cut off, and an earlier version has not noted where it began: {began}. Give its command again, \
         with its start in place of -continue, to finish it"
    )]
    Unfinished {
        /// What was begun.
        began: String,
    },
    /// A row is of a table that the destination does not have.
    #[error(
        "table {table}, of which rows come at commit_ts {commit_ts}, does not exist in the destination: restore the backup first, or start before its CREATE TABLE"
    )]
    NoTable {
        /// As `db.table`.
        table: String,
        /// Where.
        commit_ts: CommitTs,
    },
    /// The destination does not know a statement.
    #[error(
        "the DDL at commit_ts {commit_ts} is not understood by the destination: {why}; statement: {statement}"
    )]
    Statement {
        /// Which.
        commit_ts: CommitTs,
        /// Its text.
        statement: String,
        /// The server's words.
        why: String,
    },
    /// A full backup does not say where it stands.
    #[error("{path}: {why}")]
    Backup {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A row that should go back is not what the binlogs tell of.
    #[error(
        "nothing was changed: {found} rows, not {expected}, are as the binlogs say. Somebody changed the database beside them; statement: {statement}"
    )]
    NotAsExpected {
        /// The statement.
        statement: String,
        /// Rows that it should hit.
        expected: u64,
        /// Rows that it hit.
        found: u64,
    },
    /// A statement that takes changes back failed.
    #[error("nothing was changed")]
    Undo {
        /// Why.
        #[source]
        source: binlog_sink::Error,
    },
    /// Others have changed what should go back.
    #[error(
        "{report}\nnothing was changed: there are conflicts. -overwrite sets those rows back too, -leave-conflicts leaves them as they are"
    )]
    Conflicts {
        /// What would have been done.
        report: Box<crate::UndoReport>,
    },
    /// A chart cannot be drawn.
    #[error("cannot draw {path}: {why}")]
    Chart {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A signal ended it.
    #[error("interrupted: restored up to {position}, which is not the end of the range ({through})")]
    Interrupted {
        /// Everything at or below it is restored.
        position: CommitTs,
        /// Where it should have ended.
        through: CommitTs,
    },
}
