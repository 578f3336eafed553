//! Names as each dialect quotes them.

/// A name in backticks, as MySQL takes it.
pub(crate) fn backtick(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// `schema`.`table`.
pub(crate) fn mysql_table(schema: &str, table: &str) -> String {
    format!("{}.{}", backtick(schema), backtick(table))
}

/// A name in double quotes, as SQLite takes it.
pub(crate) fn double_quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The name (not quoted) of the SQLite table that holds `schema`.`table`: a SQLite file has no databases, so it is `schema.table`.
/// A `.` or `%` inside the database's name stands as `%2E` or `%25`, so that no two tables share a name.
pub fn sqlite_table_name(schema: &str, table: &str) -> String {
    format!("{}.{table}", schema.replace('%', "%25").replace('.', "%2E"))
}

/// The quoted SQLite table name.
pub(crate) fn sqlite_table(schema: &str, table: &str) -> String {
    double_quote(&sqlite_table_name(schema, table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_inside_names_are_doubled() {
        assert_eq!(mysql_table("q`d", "co`l 1"), "`q``d`.`co``l 1`");
        assert_eq!(sqlite_table("a", "b\"c"), "\"a.b\"\"c\"");
    }

    #[test]
    fn no_two_tables_share_a_name_in_sqlite() {
        assert_eq!(sqlite_table_name("shop", "orders"), "shop.orders");
        assert_ne!(sqlite_table_name("a.b", "c"), sqlite_table_name("a", "b.c"));
    }
}
