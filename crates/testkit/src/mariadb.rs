//! A private MariaDB.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::{Process, Row, Truth, TruthTable, free_port};

/// A real MariaDB with a data directory of its own, reachable as `root` without password over TCP; dropping it ends it.
#[derive(Debug)]
pub struct Mariadb {
    folder: TempDir,
    port: u16,
    args: Vec<String>,
    process: Process,
}

impl Mariadb {
    /// Starts one. `mariadbd`, `mariadb-install-db` and `mariadb` must be installed.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(&[])
    }

    /// Starts one with more options.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_with(options: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        run(Command::new("cp").arg("-a").arg(template()?).arg(&data))?;
        // Of its own: a server that starts deletes the temporary tables that it finds, also those of its neighbours.
        let temporary = folder.path().join("tmp");
        fs::create_dir(&temporary)?;
        let init = folder.path().join("init.sql");
        fs::write(
            &init,
            "CREATE USER IF NOT EXISTS root@'127.0.0.1';\nGRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n",
        )?;
        let mut last = None;
        for _ in 0..3 {
            let port = free_port();
            let path = |name: &str| folder.path().join(name).display().to_string();
            let mut args: Vec<String> = SERVER.iter().map(|option| (*option).to_owned()).collect();
            args.extend([
                format!("--datadir={}", data.display()),
                format!("--tmpdir={}", temporary.display()),
                format!("--socket={}", path("socket")),
                format!("--pid-file={}", path("pid")),
                format!("--init-file={}", init.display()),
                format!("--port={port}"),
            ]);
            args.extend(options.iter().map(|option| (*option).to_owned()));
            match launch(port, &args) {
                Ok(process) => return Ok(Mariadb { folder, port, args, process }),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no attempt was made")?)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL for SQL clients.
    pub fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/", self.port)
    }

    /// Where its socket and data lie.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills it, as a crash would.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Starts it again with the same data and port.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill9();
        self.process = launch(self.port, &self.args)?;
        Ok(())
    }

    /// Runs statements; what they select, a line a row, columns separated by tabs, as the `mariadb` client prints it.
    ///
    /// # Errors
    /// With the server's message, at the first statement that fails.
    pub fn sql(&self, statements: &str) -> anyhow::Result<String> {
        let mut client = Command::new("mariadb")
            .args(["--no-defaults", "--host=127.0.0.1", "--protocol=tcp", "--user=root", "--batch"])
            .args(["--skip-column-names", "--default-character-set=utf8mb4", "--max-allowed-packet=1G"])
            .arg("--init-command=SET time_zone='+00:00', sql_mode=''")
            .arg(format!("--port={}", self.port))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("mariadb must be installed")?;
        let mut stdin = client.stdin.take().context("no standard input")?;
        let text = statements.as_bytes().to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&text));
        let output = client.wait_with_output()?;
        // The client stops reading at the first error.
        let _ = writer.join();
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// All base tables of these schemas, in the form of the captures' truth.
    ///
    /// # Errors
    /// When the server fails.
    pub fn dump(&self, schemas: &[&str]) -> anyhow::Result<Truth> {
        let mut truth = Truth::default();
        for schema in schemas {
            let names = self.sql(&format!(
                "SELECT HEX(table_name) FROM information_schema.tables \
                 WHERE table_schema = {} AND table_type = 'BASE TABLE';",
                quote(schema)
            ))?;
            for name in names.lines() {
                let table = text(name)?;
                let contents =
                    self.dump_table(schema, &table).with_context(|| format!("{schema}.{table}"))?;
                truth.tables.insert(((*schema).to_owned(), table), contents);
            }
        }
        Ok(truth)
    }

    /// All base tables of all schemas but the server's own and `tidb_binlog`.
    ///
    /// # Errors
    /// When the server fails.
    pub fn dump_all(&self) -> anyhow::Result<Truth> {
        let names = self.sql("SELECT HEX(schema_name) FROM information_schema.schemata;")?;
        let schemas: Vec<String> = names.lines().map(text).collect::<anyhow::Result<_>>()?;
        const OWN: [&str; 5] = ["mysql", "information_schema", "performance_schema", "sys", "tidb_binlog"];
        let schemas: Vec<&str> =
            schemas.iter().map(String::as_str).filter(|name| !OWN.contains(name)).collect();
        self.dump(&schemas)
    }

    fn dump_table(&self, schema: &str, table: &str) -> anyhow::Result<TruthTable> {
        let described = self.sql(&format!(
            "SELECT HEX(column_name), data_type FROM information_schema.columns \
             WHERE table_schema = {} AND table_name = {} ORDER BY ordinal_position;",
            quote(schema),
            quote(table)
        ))?;
        let mut columns = Vec::new();
        let mut shown = Vec::new();
        for line in described.lines() {
            let (name, kind) = line.split_once('\t').context("a column without type")?;
            let name = text(name)?;
            let quoted = identifier(&name);
            // In hex nothing needs an escape, and NULL cannot be mistaken.
            shown.push(match kind {
                "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
                    format!("IF({quoted} IS NULL, '-', HEX(CONCAT('0x', HEX({quoted}))))")
                }
                "bit" => format!("IF({quoted} IS NULL, '-', HEX(CONCAT(CAST({quoted} AS UNSIGNED))))"),
                _ => format!("IF({quoted} IS NULL, '-', HEX(CONVERT(CONCAT({quoted}) USING utf8mb4)))"),
            });
            columns.push(name);
        }
        let query = format!("SELECT {} FROM {}.{};", shown.join(", "), identifier(schema), identifier(table));
        let mut rows: Vec<Row> = Vec::new();
        for line in self.sql(&query)?.split_terminator('\n') {
            let row =
                line.split('\t').map(|value| if value == "-" { Ok(None) } else { unhex(value).map(Some) });
            rows.push(row.collect::<anyhow::Result<_>>()?);
        }
        Ok(TruthTable::new(columns, rows))
    }
}

/// Small and quick; a killed server still loses nothing, since the system keeps what it wrote.
const SERVER: [&str; 13] = [
    "--no-defaults",
    "--user=root",
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--skip-log-bin",
    "--character-set-server=utf8mb4",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-doublewrite=0",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--max-allowed-packet=1G",
    "--performance-schema=0",
    "--log-warnings=1",
];

fn launch(port: u16, args: &[String]) -> anyhow::Result<Process> {
    let mut process = Process::start("mariadbd", args)
        .or_else(|_| Process::start("/usr/sbin/mariadbd", args))
        .context("mariadbd must be installed")?;
    process.wait_for_output("ready for connections", Duration::from_secs(60))?;
    process.wait_for_port(port, Duration::from_secs(5))?;
    Ok(process)
}

/// A fresh data directory to copy, made once a machine.
fn template() -> anyhow::Result<PathBuf> {
    let root = std::env::temp_dir().join("binlog-testkit-mariadb");
    fs::create_dir_all(&root)?;
    let lock = fs::File::create(root.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let template = root.join("template-1");
    if template.is_dir() {
        return Ok(template);
    }
    let fresh = root.join("fresh");
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    run(Command::new("mariadb-install-db")
        .args(["--no-defaults", "--user=root", "--auth-root-authentication-method=normal", "--skip-test-db"])
        .arg("--innodb-log-file-size=16M")
        .arg(format!("--datadir={}", fresh.display())))
    .context("mariadb-install-db must be installed")?;
    fs::rename(&fresh, &template)?;
    Ok(template)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("{command:?}: {}\n{out}{err}", output.status);
    }
    Ok(())
}

fn quote(text: &str) -> String {
    format!("CONVERT(0x{} USING utf8mb4)", text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn unhex(hex: &str) -> anyhow::Result<Vec<u8>> {
    ensure!(hex.len().is_multiple_of(2) && hex.is_ascii(), "no hex: {hex:?}");
    (0..hex.len()).step_by(2).map(|at| Ok(u8::from_str_radix(&hex[at..at + 2], 16)?)).collect()
}

fn text(hex: &str) -> anyhow::Result<String> {
    Ok(String::from_utf8(unhex(hex)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_survive_a_crash_and_are_dumped_like_the_truth() {
        let mut server = Mariadb::start().unwrap();
        server
            .sql(
                "CREATE DATABASE `d``b`; USE `d``b`;
                 CREATE TABLE `t 表` (id int primary key, s varchar(20), b varbinary(9), n bit(9), z int(5) zerofill, c datetime(3));
                 INSERT INTO `t 表` VALUES (1, 'a\\tb\\\\ü', 0x00ff, b'101', 7, '2026-01-02 03:04:05.678');
                 INSERT INTO `t 表` VALUES (2, '', '', NULL, NULL, NULL);",
            )
            .unwrap();
        server.kill9();
        server.restart().unwrap();
        let dump = server.dump_all().unwrap();
        let table = &dump.tables[&("d`b".to_owned(), "t 表".to_owned())];
        let tsv = "id\ts\tb\tn\tz\tc\n1\ta\\tb\\\\ü\t0x00FF\t5\t00007\t2026-01-02 03:04:05.678\n2\t\t0x\t\\N\t\\N\t\\N\n";
        assert_eq!(String::from_utf8(table.to_tsv()).unwrap(), tsv);
        assert!(server.sql("SELEC 1").unwrap_err().to_string().contains("syntax"));
    }
}
