//! What the targets differ in.

use std::collections::HashSet;

use binlog_types::Zone;

use crate::notices::Notices;

/// The kinds of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    MySql,
    MariaDb,
    TiDb,
    Sqlite,
}

/// A target's ways.
#[derive(Clone, Debug)]
pub(crate) struct Dialect {
    pub(crate) kind: Kind,
    /// Collations that the server has, in lower case; empty: not asked, take those that every server has.
    collations: HashSet<String>,
    /// The zone in which DDL was typed of which nothing says its own; None: UTC.
    pub(crate) source_zone: Option<Zone>,
}

impl Dialect {
    pub(crate) fn new(kind: Kind, collations: HashSet<String>) -> Self {
        Dialect { kind, collations, source_zone: None }
    }

    pub(crate) fn sqlite() -> Self {
        Dialect::new(Kind::Sqlite, HashSet::new())
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::MySql => "MySQL",
            Kind::MariaDb => "MariaDB",
            Kind::TiDb => "TiDB",
            Kind::Sqlite => "SQLite",
        }
    }

    /// Whether it is TiDB.
    pub(crate) fn is_tidb(&self) -> bool {
        self.kind == Kind::TiDb
    }

    /// Whether JSON columns are compared as JSON (MariaDB's are text).
    pub(crate) fn has_json_type(&self) -> bool {
        matches!(self.kind, Kind::MySql | Kind::TiDb)
    }

    /// Whether a generated column may be NOT NULL.
    pub(crate) fn generated_not_null(&self) -> bool {
        self.kind != Kind::MariaDb
    }

    /// Whether an expression may be a DEFAULT: not in MySQL before 8.0, which lacks the collations of 9.0 of the Unicode rules too.
    pub(crate) fn has_expression_defaults(&self) -> bool {
        self.kind != Kind::MySql
            || self.collations.is_empty()
            || self.collations.iter().any(|c| c.contains("_0900_"))
    }

    /// Whether columns of the character set become utf8mb4: TiDB keeps any character in them, others lose what the character set lacks.
    pub(crate) fn widens(&self, charset: &str) -> bool {
        matches!(self.kind, Kind::MySql | Kind::MariaDb)
            && ["latin1", "ascii"].iter().any(|c| c.eq_ignore_ascii_case(charset))
    }

    fn has(&self, collation: &str) -> bool {
        match self.kind {
            Kind::TiDb => true,
            _ if self.collations.is_empty() => {
                !collation.contains("_0900_") && !collation.contains("uca1400")
            }
            _ => self.collations.contains(collation),
        }
    }

    /// Character set and collation that come nearest to the source's; empty where there is none. Of collations that the target
    /// lacks, the substitute that takes the fewest texts as equal is chosen, so that no unique key conflicts that did not before.
    pub(crate) fn collation(
        &self,
        charset: &str,
        collate: &str,
        whose: &str,
        notices: &mut Notices,
    ) -> (String, String) {
        let charset = charset.to_ascii_lowercase();
        let collate = collate.to_ascii_lowercase();
        if charset.is_empty() || charset == "binary" {
            return (charset, collate);
        }
        if self.widens(&charset) {
            notices.report(format!(
                "{whose}: character set {charset} becomes utf8mb4: TiDB holds characters in it that {} would lose",
                self.name()
            ));
            return ("utf8mb4".to_owned(), "utf8mb4_bin".to_owned());
        }
        if collate.is_empty() || self.has(&collate) {
            return (charset, collate);
        }
        let candidates: &[&str] = match collate.as_str() {
            "utf8mb4_0900_ai_ci" => &[
                "utf8mb4_uca1400_nopad_ai_ci",
                "utf8mb4_unicode_520_nopad_ci",
                "utf8mb4_unicode_520_ci",
                "utf8mb4_unicode_ci",
            ],
            "utf8mb4_0900_bin" => &["utf8mb4_nopad_bin", "utf8mb4_bin"],
            "utf8_bin" | "utf8mb3_bin" => &["utf8mb3_bin", "utf8_bin"],
            "utf8_general_ci" | "utf8mb3_general_ci" => &["utf8mb3_general_ci", "utf8_general_ci"],
            "utf8_unicode_ci" | "utf8mb3_unicode_ci" => &["utf8mb3_unicode_ci", "utf8_unicode_ci"],
            _ => &[],
        };
        let binary = format!("{charset}_bin");
        let chosen = candidates.iter().copied().chain([binary.as_str()]).find(|c| self.has(c));
        let (charset, chosen) = match chosen {
            // One character set has two names, and not every server takes them for the same.
            Some(found) => (found.split('_').next().unwrap_or(&charset).to_owned(), found.to_owned()),
            None => ("utf8mb4".to_owned(), "utf8mb4_bin".to_owned()),
        };
        if !collate.starts_with("utf8_") {
            notices.report(format!(
                "{whose}: {} has no collation {collate}, {chosen} stands in its place",
                self.name()
            ));
        }
        (charset, chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_collation_has_a_substitute() {
        let mut notices = Notices::default();
        let known = ["utf8mb4_bin", "utf8mb4_unicode_520_nopad_ci", "utf8mb3_bin"].map(String::from).into();
        let dialect = Dialect::new(Kind::MariaDb, known);
        let mut map = |charset: &str, collate: &str| dialect.collation(charset, collate, "t", &mut notices).1;
        assert_eq!(map("utf8mb4", "utf8mb4_bin"), "utf8mb4_bin");
        assert_eq!(map("utf8mb4", "utf8mb4_0900_ai_ci"), "utf8mb4_unicode_520_nopad_ci");
        assert_eq!(map("utf8mb4", "utf8mb4_0900_bin"), "utf8mb4_bin");
        assert_eq!(map("utf8", "utf8_bin"), "utf8mb3_bin");
        assert_eq!(map("latin1", "latin1_bin"), "utf8mb4_bin");
        assert_eq!(map("gb18030", "gb18030_chinese_ci"), "utf8mb4_bin");
        let both = dialect.collation("utf8", "utf8_bin", "t", &mut notices);
        assert_eq!(both, ("utf8mb3".to_owned(), "utf8mb3_bin".to_owned()));
    }
}
