//! Which databases and tables take part.

use regex::{Regex, RegexBuilder};

/// The databases of TiDB itself and of its tools. What a drainer or reparo notes in a TiDB that is their destination, and what they keep
/// aside there, is about that database alone: in another one it would pass for progress made there.
pub const SYSTEM_SCHEMAS: [&str; 8] = [
    "mysql",
    "sys",
    "information_schema",
    "performance_schema",
    "metrics_schema",
    "tidb_binlog",
    "tidb_binlog_reparo",
    "tidb_binlog_recycle_bin",
];

/// The original's do/ignore lists: patterns with a leading `~` are regular expressions (anywhere in the name), others literal names;
/// case does not matter. Other than in the original, a literal name is just that: `.` or `*` in it have no special meaning.
///
/// A name takes part if it matches any do list, or both are empty, and matches no ignore list.
#[derive(Clone, Debug, Default)]
pub struct TableFilter {
    do_dbs: Vec<Regex>,
    do_tables: Vec<(Regex, Regex)>,
    ignore_dbs: Vec<Regex>,
    ignore_tables: Vec<(Regex, Regex)>,
}

fn pattern(text: &str) -> Result<Regex, regex::Error> {
    let pattern = match text.strip_prefix('~') {
        Some(regex) => regex.to_owned(),
        None => format!("^{}$", regex::escape(text)),
    };
    RegexBuilder::new(&pattern).case_insensitive(true).build()
}

fn patterns(texts: &[String]) -> Result<Vec<Regex>, regex::Error> {
    texts.iter().map(|text| pattern(text)).collect()
}

fn pairs(texts: &[(String, String)]) -> Result<Vec<(Regex, Regex)>, regex::Error> {
    texts.iter().map(|(db, table)| Ok((pattern(db)?, pattern(table)?))).collect()
}

impl TableFilter {
    /// `do_dbs`, `do_tables`, `ignore_dbs`, `ignore_tables`; tables as (db, table).
    ///
    /// # Errors
    /// When a regular expression is none.
    pub fn new(
        do_dbs: &[String],
        do_tables: &[(String, String)],
        ignore_dbs: &[String],
        ignore_tables: &[(String, String)],
    ) -> Result<Self, regex::Error> {
        Ok(TableFilter {
            do_dbs: patterns(do_dbs)?,
            do_tables: pairs(do_tables)?,
            ignore_dbs: patterns(ignore_dbs)?,
            ignore_tables: pairs(ignore_tables)?,
        })
    }

    /// As [`TableFilter::new`], but of [`SYSTEM_SCHEMAS`] only those take part that a do list names: pumps hold the binlogs of
    /// TiDB's own bootstrap too.
    ///
    /// # Errors
    /// When a regular expression is none.
    pub fn user_tables(
        do_dbs: &[String],
        do_tables: &[(String, String)],
        ignore_dbs: &[String],
        ignore_tables: &[(String, String)],
    ) -> Result<Self, regex::Error> {
        let named = |schema: &str| {
            do_dbs.iter().chain(do_tables.iter().map(|(db, _)| db)).any(|db| db.eq_ignore_ascii_case(schema))
        };
        let system = SYSTEM_SCHEMAS.iter().filter(|schema| !named(schema)).map(|schema| (*schema).to_owned());
        let ignore_dbs: Vec<String> = ignore_dbs.iter().cloned().chain(system).collect();
        Self::new(do_dbs, do_tables, &ignore_dbs, ignore_tables)
    }

    /// Whether the database is needed: it takes part itself, or some table of it may.
    pub fn needs_database(&self, schema: &str) -> bool {
        let db = |list: &[Regex]| list.iter().any(|r| r.is_match(schema));
        self.allows(schema, "")
            || self.do_tables.iter().any(|(d, _)| d.is_match(schema)) && !db(&self.ignore_dbs)
    }

    /// Whether (schema, table) takes part; an empty table name asks for the database itself.
    pub fn allows(&self, schema: &str, table: &str) -> bool {
        let db = |list: &[Regex]| list.iter().any(|r| r.is_match(schema));
        let pair =
            |list: &[(Regex, Regex)]| list.iter().any(|(d, t)| d.is_match(schema) && t.is_match(table));
        let wanted =
            self.do_dbs.is_empty() && self.do_tables.is_empty() || db(&self.do_dbs) || pair(&self.do_tables);
        wanted && !db(&self.ignore_dbs) && !pair(&self.ignore_tables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    fn tables(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(d, t)| ((*d).to_owned(), (*t).to_owned())).collect()
    }

    #[test]
    fn system_schemas_take_part_only_by_name() {
        let all = TableFilter::user_tables(&[], &[], &[], &[]).unwrap();
        assert!(all.allows("shop", "t") && !all.allows("mysql", "user") && !all.allows("SYS", "v"));
        let named = TableFilter::user_tables(&texts(&["MySQL", "shop"]), &[], &[], &[]).unwrap();
        assert!(named.allows("mysql", "user") && named.allows("shop", "t") && !named.allows("sys", "v"));
        for own in ["tidb_binlog", "tidb_binlog_reparo", "TiDB_Binlog_recycle_bin"] {
            assert!(!all.allows(own, "restore") && !all.needs_database(own), "{own}");
        }
    }

    #[test]
    fn ignoring_wins_over_doing() {
        let filter = TableFilter::new(
            &texts(&["Shop", "~^log"]),
            &tables(&[("other", "t1")]),
            &texts(&["log_old"]),
            &tables(&[("shop", "~_tmp$")]),
        )
        .unwrap();
        for (db, table, allowed) in [
            ("shop", "orders", true),
            ("SHOP", "Orders_TMP", false),
            ("log2024", "x", true),
            ("log_old", "x", false),
            ("other", "t1", true),
            ("other", "t2", false),
            ("other", "", false),
            ("shop", "", true),
        ] {
            assert_eq!(filter.allows(db, table), allowed, "{db}.{table}");
        }
    }

    #[test]
    fn a_table_needs_its_database() {
        let filter = TableFilter::new(
            &[],
            &tables(&[("shop", "t"), ("gone", "t")]),
            &texts(&["gone"]),
            &tables(&[("shop", "~.*")]),
        )
        .unwrap();
        assert!(filter.needs_database("shop") && !filter.allows("shop", ""));
        assert!(!filter.needs_database("gone") && !filter.needs_database("other"));
    }

    #[test]
    fn literal_names_are_literal() {
        let filter = TableFilter::new(&texts(&["a.b"]), &[], &[], &[]).unwrap();
        assert!(filter.allows("a.b", "t") && !filter.allows("axb", "t"));
        assert!(TableFilter::new(&texts(&["~("]), &[], &[], &[]).is_err());
        assert!(TableFilter::default().allows("any", "thing"));
    }
}
