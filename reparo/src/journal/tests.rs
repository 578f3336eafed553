//! The record of restores in real databases.

use binlog_sink::MySqlTarget;
use binlog_testkit::Mariadb;
use binlog_types::CommitTs;

use super::*;

fn entry(state: State) -> Entry {
    Entry {
        identity: "cluster 7, tables grün.é'\"´漢字".to_owned(),
        state,
        after: Some(CommitTs::new(5)),
        through: CommitTs::new(9),
        first: None,
        holes: vec!["(1, 2] purged by gc (pump ü)".to_owned(), "(3, 4] it's gone".to_owned()],
    }
}

fn target(server: &Mariadb) -> Target {
    Target::MySql(MySqlTarget {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        user: "root".to_owned(),
        ..MySqlTarget::default()
    })
}

async fn comes_back(target: &Target) {
    assert_eq!(Journal::peek(target).await.unwrap(), None);
    let mut journal = Journal::open(target).await.unwrap();
    assert_eq!(journal.last().await.unwrap(), None);
    let mut written = entry(State::Finished);
    journal.begin(&mut written).await.unwrap();
    assert_eq!(journal.last().await.unwrap(), Some(entry(State::Begun)));
    written.first = Some(CommitTs::new(6));
    journal.write(&written).await.unwrap();
    assert_eq!(journal.last().await.unwrap(), Some(written));
    journal.finish(&entry(State::Finished)).await.unwrap();
    assert_eq!(Journal::peek(target).await.unwrap(), Some(entry(State::Finished)));
}

#[tokio::test]
async fn a_record_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = Target::Sqlite(folder.path().join("a.db"));
    comes_back(&file).await;
    // Names are kept whatever the server's own character set is.
    let server = Mariadb::start().unwrap();
    server.sql("SET GLOBAL character_set_server = latin1").unwrap();
    comes_back(&target(&server)).await;
}

#[tokio::test]
async fn a_table_of_an_earlier_version_is_taken_over() {
    let server = Mariadb::start().unwrap();
    server
        .sql(&format!(
            "CREATE DATABASE {SCHEMA}; CREATE TABLE {SCHEMA}.restore (id INT PRIMARY KEY, identity TEXT NOT NULL, finished INT NOT NULL, \
             through_ts BIGINT NOT NULL); INSERT INTO {SCHEMA}.restore VALUES (1, 'old', 0, 9)"
        ))
        .unwrap();
    let old = Journal::peek(&target(&server)).await.unwrap().unwrap();
    assert_eq!((old.identity.as_str(), old.after), ("old", None));
    let mut journal = Journal::open(&target(&server)).await.unwrap();
    assert_eq!(journal.last().await.unwrap(), Some(old));
    journal.write(&entry(State::Begun)).await.unwrap();
    assert_eq!(journal.last().await.unwrap(), Some(entry(State::Begun)));
}

#[tokio::test]
async fn a_beginning_that_is_cut_off_is_no_progress() {
    let server = Mariadb::start().unwrap();
    let mut journal = Journal::open(&target(&server)).await.unwrap();
    server.sql(&format!("CREATE TABLE {SCHEMA}.checkpoint (a INT)")).unwrap();
    journal.write(&entry(State::Finished)).await.unwrap();
    journal.begin(&mut entry(State::Finished)).await.unwrap();
    let left = server.sql(&format!("SHOW TABLES FROM {SCHEMA}")).unwrap();
    assert_eq!(left.trim(), TABLE, "the progress of the one before is forgotten, the record is not");
}

/// Ends all connections of reparo to the server, as a server or a firewall does with silent ones.
fn cut(server: &Mariadb) {
    let ids = server
        .sql(
            "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND command = 'Sleep'",
        )
        .unwrap();
    for id in ids.split_whitespace() {
        server.sql(&format!("KILL {id}")).unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_was_cut_off_is_opened_again() {
    let server = Mariadb::start().unwrap();
    let mut journal = Journal::open(&target(&server)).await.unwrap();
    cut(&server);
    journal.write(&entry(State::Begun)).await.unwrap();
    cut(&server);
    // The lock is taken again.
    journal.lock(0).await.unwrap();
    assert!(matches!(Journal::open(&target(&server)).await, Err(Error::Busy)));
    cut(&server);
    journal.finish(&entry(State::Finished)).await.unwrap();
    assert_eq!(Journal::peek(&target(&server)).await.unwrap(), Some(entry(State::Finished)));
}

#[tokio::test]
async fn who_lost_the_lock_to_another_stops() {
    let server = Mariadb::start().unwrap();
    let mut journal = Journal::open(&target(&server)).await.unwrap();
    cut(&server);
    let _other = Journal::open(&target(&server)).await.unwrap();
    assert!(matches!(journal.lock(0).await, Err(Error::Busy)));
    assert!(matches!(journal.finish(&entry(State::Finished)).await, Err(Error::Busy)));
}

#[tokio::test]
async fn silence_ends_no_connection() {
    let server = Mariadb::start().unwrap();
    server.sql("SET GLOBAL wait_timeout = 1").unwrap();
    let _journal = Journal::open(&target(&server)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let holder = server.sql(&format!("SELECT COALESCE(IS_USED_LOCK('{SCHEMA}'), 0)")).unwrap();
    assert_ne!(holder.trim(), "0", "the lock is lost");
}
