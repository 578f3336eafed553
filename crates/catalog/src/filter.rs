//! Which databases and tables take part.

/// The original's do/ignore lists: patterns with a leading `~` are regexes, others literal names; case-insensitive.
#[derive(Clone, Debug, Default)]
pub struct TableFilter {}

impl TableFilter {
    /// `do_dbs`, `do_tables`, `ignore_dbs`, `ignore_tables`; tables as (db, table).
    pub fn new(
        do_dbs: &[String],
        do_tables: &[(String, String)],
        ignore_dbs: &[String],
        ignore_tables: &[(String, String)],
    ) -> Result<Self, regex::Error> {
        todo!()
    }
    /// Whether (schema, table) takes part; an empty table name asks for the database itself.
    pub fn allows(&self, schema: &str, table: &str) -> bool {
        todo!()
    }
}
