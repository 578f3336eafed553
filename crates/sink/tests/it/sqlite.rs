//! What stands in a SQLite file, and how it differs from what TiDB shows.

use std::path::Path;

use binlog_testkit::{Comparison, Truth, TruthTable};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection, ValueRef as _};

/// All tables but the sink's own.
pub(crate) async fn contents(path: &Path) -> Truth {
    let mut truth = Truth::default();
    let mut file = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'";
    for row in sqlx::raw_sql(tables).fetch_all(&mut file).await.unwrap() {
        let name: String = row.get(0);
        let (schema, table) = name.split_once('.').expect("schema.table");
        if schema.starts_with("tidb_binlog") {
            continue;
        }
        let quoted = name.replace('"', "\"\"");
        let list = format!("SELECT name FROM pragma_table_xinfo('{}')", name.replace('\'', "''"));
        let columns = sqlx::raw_sql(AssertSqlSafe(list)).fetch_all(&mut file).await.unwrap();
        let columns: Vec<String> = columns.iter().map(|c| c.get(0)).collect();
        let select = format!("SELECT * FROM \"{quoted}\"");
        let rows = sqlx::raw_sql(AssertSqlSafe(select)).fetch_all(&mut file).await.unwrap();
        let rows = rows.iter().map(|row| (0..columns.len()).map(|at| shown(row, at)).collect()).collect();
        truth.tables.insert((schema.to_owned(), table.to_owned()), TruthTable::new(columns, rows));
    }
    file.close().await.unwrap();
    truth
}

fn shown(row: &sqlx::sqlite::SqliteRow, at: usize) -> Option<Vec<u8>> {
    use sqlx::TypeInfo;
    let value = row.try_get_raw(at).unwrap();
    if value.is_null() {
        return None;
    }
    let kind = value.type_info().name().to_owned();
    Some(match kind.as_str() {
        "INTEGER" => row.get::<i64, _>(at).to_string().into_bytes(),
        "REAL" => row.get::<f64, _>(at).to_string().into_bytes(),
        "TEXT" => row.get::<String, _>(at).into_bytes(),
        _ => {
            let bytes = row.get::<Vec<u8>, _>(at);
            bytes.iter().fold(String::from("0x"), |hex, b| format!("{hex}{b:02X}")).into_bytes()
        }
    })
}

/// For the captures of all types.
pub(crate) fn comparison() -> Comparison {
    // Generated columns over MySQL's functions stay empty. Numbers are numbers: YEAR 0 is 0, floats are shown as their double.
    let mut comparison = Comparison::exact()
        .ignore("types", "gens", "k")
        .ignore("types_tidb", "jgen", "arr")
        .numeric("types", "times", "y")
        .numeric("types_v1", "times", "y")
        .numeric("types", "pk_year_enum", "y");
    for schema in ["types", "types_v1"] {
        for column in ["f", "f2", "uf"] {
            comparison = comparison.single(schema, "floats", column);
        }
        for column in ["d", "d2", "ud"] {
            comparison = comparison.numeric(schema, "floats", column);
        }
    }
    comparison
}
