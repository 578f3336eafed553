//! What a table has that a target other than TiDB is not given, told once a table.

use binlog_catalog::{Table, TableKind, TableRef};

use super::create::whose;
use super::dialect::Dialect;
use crate::notices::Notices;

/// Reports what `after` has and `before` had not (`None`: the table is new).
pub(super) fn report(dialect: &Dialect, before: Option<&Table>, after: &TableRef, notices: &mut Notices) {
    let table = &after.table;
    if table.kind != TableKind::Table || dialect.is_tidb() {
        return;
    }
    let whose = whose(after);
    let none: &[String] = &[];
    let come = |had: &[String], has: &[String]| -> String {
        let names = has.iter().filter(|name| !had.contains(name)).map(|name| format!("`{name}`"));
        names.collect::<Vec<_>>().join(", ")
    };
    let keys = come(before.map_or(none, |b| &b.foreign_keys), &table.foreign_keys);
    if !keys.is_empty() {
        notices.report(format!(
            "{whose}: foreign keys are left out: {keys}; TiDB has checked them, and cascades are in its rows"
        ));
    }
    let checks = come(before.map_or(none, |b| &b.checks), &table.checks);
    if !checks.is_empty() {
        notices.report(format!("{whose}: CHECK constraints are left out: {checks}; TiDB has checked them"));
    }
    let invisible = |t: &Table| -> Vec<String> {
        t.indexes.iter().filter(|i| i.public && i.invisible).map(|i| i.name.clone()).collect()
    };
    let hidden = come(&before.map(invisible).unwrap_or_default(), &invisible(table));
    if !hidden.is_empty() {
        notices.report(format!("{whose}: indexes that are INVISIBLE in TiDB are plain ones: {hidden}"));
    }
    if table.temporary && before.is_none_or(|b| !b.temporary) {
        notices.report(format!("{whose}: it is a GLOBAL TEMPORARY table in TiDB, whose rows are in no binlog; here it is a plain table, and empty"));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use binlog_catalog::TableBuilder;
    use binlog_types::{SchemaVersion, TableId};

    use super::*;
    use crate::ddl::dialect::Kind;

    #[test]
    fn each_thing_is_told_when_it_comes() {
        let plain = TableBuilder::new(TableId(1), "t", SchemaVersion(1)).build();
        let mut full = plain.clone();
        full.foreign_keys = vec!["fk_1".into()];
        full.checks = vec!["t_chk_1".into(), "t_chk_2".into()];
        full.temporary = true;
        let full = TableRef { schema: "d".into(), table: Arc::new(full) };
        let told = |kind, before: Option<&Table>| {
            let mut notices = Notices::default();
            report(&Dialect::new(kind, HashSet::new()), before, &full, &mut notices);
            notices.told()
        };
        let all = told(Kind::MariaDb, None);
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(all.iter().any(|t| t.contains("`t_chk_1`, `t_chk_2`")), "{all:?}");
        assert_eq!(told(Kind::Sqlite, Some(&plain)).len(), 3);
        assert!(told(Kind::Sqlite, Some(&full.table)).is_empty());
        assert!(told(Kind::TiDb, None).is_empty());
    }
}
