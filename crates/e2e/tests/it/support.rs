//! What the tests share.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use binlog_e2e::{commit_ts_of, program};
use binlog_proto::binlog::Binlog;
use binlog_testkit::{Mariadb, Truth, fixtures};
use prost::Message as _;
use sqlx::{Connection as _, Row as _, SqliteConnection};
use tempfile::TempDir;

/// The last commit_ts of a capture.
pub(crate) fn last_commit_ts(fixture: &str) -> u64 {
    let commits =
        fixtures::writes(fixture).unwrap().into_iter().map(|frame| Binlog::decode(frame.payload).unwrap());
    commits.map(|binlog| binlog.commit_ts as u64).max().unwrap()
}

/// The schemas of a capture, at any of its marks.
pub(crate) fn schemas(fixture: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for mark in fixtures::marks(fixture).unwrap().keys() {
        all.extend(fixtures::truth(fixture, mark).unwrap().tables.into_keys().map(|(schema, _)| schema));
    }
    all.sort();
    all.dedup();
    all
}

/// All that stands in the capture's schemas of `server`.
pub(crate) fn dump(server: &Mariadb, schemas: &[String]) -> Truth {
    let schemas: Vec<&str> = schemas.iter().map(String::as_str).collect();
    server.dump(&schemas).unwrap()
}

/// Drops them.
pub(crate) fn clear(server: &Mariadb, schemas: &[String]) {
    for schema in schemas {
        server.sql(&format!("DROP DATABASE IF EXISTS `{schema}`")).unwrap();
    }
}

/// The drainer's checkpoint in a SQLite file; None: there is none yet. To be called where the runtime has several threads.
pub(crate) fn file_checkpoint(file: &Path) -> Option<u64> {
    let url = format!("sqlite://{}?mode=ro", file.display());
    let read = async {
        let mut connection = SqliteConnection::connect(&url).await.ok()?;
        let row = sqlx::raw_sql("SELECT checkPoint FROM \"tidb_binlog.checkpoint\"")
            .fetch_one(&mut connection)
            .await;
        let text: Option<String> = row.ok().and_then(|row| row.try_get(0).ok());
        connection.close().await.ok()?;
        commit_ts_of(&text?)
    };
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(read))
}

/// A directory with a `reparo.toml` whose destination is `server`.
#[derive(Debug)]
pub(crate) struct Reparo {
    _folder: TempDir,
    config: String,
}

impl Reparo {
    pub(crate) fn into(server: &Mariadb) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reparo.toml");
        let text = format!("[dest-db]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"root\"\n", server.port());
        fs::write(&path, text).unwrap();
        Reparo { _folder: folder, config: format!("-config={}", path.display()) }
    }

    /// Such a command, with that destination where `word` knows one.
    pub(crate) fn command(&self, word: Option<&str>, args: &[&str]) -> Command {
        let mut command = Command::new(program("reparo"));
        command.args(word).args(["-dest-type=mysql", &self.config]).args(args);
        command
    }

    /// Runs it to its end; stdout and stderr.
    pub(crate) fn run(&self, word: Option<&str>, args: &[&str]) -> Result<(String, String), String> {
        said(self.command(word, args).output().unwrap())
    }
}

/// What a program said; its complaints, where it failed.
pub(crate) fn said(output: Output) -> Result<(String, String), String> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (out, err) = (text(output.stdout), text(output.stderr));
    if output.status.success() { Ok((out, err)) } else { Err(format!("{}\n{out}{err}", output.status)) }
}
