//! A condition over the images of a row: what `-where` takes.
//!
//! A small, safe part of SQL's expressions: columns, literals, `=` `<>` `<` `<=` `>` `>=` `<=>`, `AND` `OR` `NOT`, `IN (…)`, `BETWEEN`, `LIKE`,
//! `IS NULL`, with SQL's three values of truth. `old.c` and `new.c` are the images before and after a change; a column without either asks
//! for both, and one of them is enough. Numbers are compared exactly, times as times (TIMESTAMP in UTC), texts byte for byte unless the
//! column's collation ends in `_ci`.

mod compare;
mod parse;

use binlog_catalog::{ChangeKind, Row, Table};

use compare::{Literal, compare, like};

/// A condition, not yet bound to a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    root: Node,
}

/// Why a condition cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConditionError {
    /// It is no expression, or one of a kind that is not supported.
    #[error("the condition {text:?} cannot be read: {why}")]
    Syntax {
        /// As it was given.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// A table lacks a column that it names.
    #[error("the condition names column {column}, which table {table} does not have")]
    NoColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
}

/// Which image of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Image {
    Old,
    New,
    /// Whichever is looked at.
    Either,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    /// `<=>`: NULL equals NULL.
    Same,
}

/// A column of an image, before and after binding.
#[derive(Clone, Debug, PartialEq)]
struct Reference {
    image: Image,
    name: String,
    /// Its place in the table; set by binding.
    at: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Column(Reference),
    Literal(Literal),
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Compare(Operator, Operand, Operand),
    In(Operand, Vec<Operand>),
    Like(Operand, String),
    IsNull(Operand),
    Constant(Option<bool>),
    /// A bare operand: true if it is not zero.
    Truth(Operand),
}

impl Condition {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`ConditionError::Syntax`].
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        let failed = |why| ConditionError::Syntax { text: text.to_owned(), why };
        Ok(Condition { text: text.to_owned(), root: parse::parse(text).map_err(failed)? })
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Finds the columns in a table.
    ///
    /// # Errors
    /// [`ConditionError::NoColumn`].
    pub fn bind(&self, schema: &str, table: &Table) -> Result<BoundCondition, ConditionError> {
        let mut root = self.root.clone();
        let mut missing = None;
        root.references(&mut |reference| {
            let found = table.columns.iter().position(|c| c.name.eq_ignore_ascii_case(&reference.name));
            match found {
                Some(at) => reference.at = at,
                None => {
                    missing.get_or_insert_with(|| reference.name.clone());
                }
            }
        });
        match missing {
            Some(column) => {
                Err(ConditionError::NoColumn { table: format!("{schema}.{}", table.name), column })
            }
            None => Ok(BoundCondition { root }),
        }
    }
}

/// A condition whose columns are found.
#[derive(Clone, Debug)]
pub struct BoundCondition {
    root: Node,
}

impl BoundCondition {
    /// Whether a change fulfils it.
    pub fn matches(&self, table: &Table, change: &ChangeKind) -> bool {
        let (old, new) = match change {
            ChangeKind::Insert(row) => (None, Some(row)),
            ChangeKind::Delete(row) => (Some(row), None),
            ChangeKind::Update { before, after } => (Some(before), Some(after)),
        };
        let images = Images { table, old, new };
        [old, new].into_iter().flatten().any(|either| images.truth(&self.root, either) == Some(true))
    }
}

impl Node {
    fn references(&mut self, each: &mut impl FnMut(&mut Reference)) {
        let mut operand = |operand: &mut Operand| {
            if let Operand::Column(reference) = operand {
                each(reference);
            }
        };
        match self {
            Node::All(nodes) | Node::Any(nodes) => nodes.iter_mut().for_each(|node| node.references(each)),
            Node::Not(node) => node.references(each),
            Node::Compare(_, left, right) => [left, right].into_iter().for_each(operand),
            Node::In(left, list) => std::iter::once(left).chain(list).for_each(operand),
            Node::Like(left, _) | Node::IsNull(left) | Node::Truth(left) => operand(left),
            Node::Constant(_) => {}
        }
    }
}

/// The images of a row that a condition is asked about.
struct Images<'a> {
    table: &'a Table,
    old: Option<&'a Row>,
    new: Option<&'a Row>,
}

impl<'a> Images<'a> {
    /// Three-valued: `None` is unknown.
    fn truth(&self, node: &'a Node, either: &'a Row) -> Option<bool> {
        match node {
            Node::All(nodes) => fold(nodes.iter().map(|n| self.truth(n, either)), false),
            Node::Any(nodes) => fold(nodes.iter().map(|n| self.truth(n, either)), true),
            Node::Not(node) => self.truth(node, either).map(|truth| !truth),
            Node::Compare(operator, left, right) => {
                let (left, right) = (self.operand(left, either), self.operand(right, either));
                operator.holds(&left, &right)
            }
            Node::In(operand, list) => {
                let left = self.operand(operand, either);
                let equal = |right| Operator::Equal.holds(&left, &self.operand(right, either));
                fold(list.iter().map(equal), true)
            }
            Node::Like(operand, pattern) => like(&self.operand(operand, either), pattern),
            Node::IsNull(operand) => Some(self.operand(operand, either).is_null()),
            Node::Constant(truth) => *truth,
            Node::Truth(operand) => self.operand(operand, either).truth(),
        }
    }

    fn operand(&self, operand: &'a Operand, either: &'a Row) -> compare::Operand<'a> {
        let Operand::Column(reference) = operand else {
            let Operand::Literal(literal) = operand else { return compare::Operand::Null };
            return compare::Operand::Literal(literal);
        };
        let row = match reference.image {
            Image::Old => self.old,
            Image::New => self.new,
            Image::Either => Some(either),
        };
        let value = row.and_then(|row| row.get(reference.at)).and_then(Option::as_ref);
        match (value, self.table.columns.get(reference.at)) {
            (Some(value), Some(column)) => compare::Operand::value(value, column),
            _ => compare::Operand::Null,
        }
    }
}

/// AND (`decisive` false) or OR (true) of three-valued truths.
fn fold(truths: impl Iterator<Item = Option<bool>>, decisive: bool) -> Option<bool> {
    let mut out = Some(!decisive);
    for truth in truths {
        match truth {
            Some(truth) if truth == decisive => return Some(decisive),
            Some(_) => {}
            None => out = None,
        }
    }
    out
}

impl Operator {
    fn holds(self, left: &compare::Operand<'_>, right: &compare::Operand<'_>) -> Option<bool> {
        if self == Operator::Same && (left.is_null() || right.is_null()) {
            return Some(left.is_null() && right.is_null());
        }
        let order = compare(left, right)?;
        Some(match self {
            Operator::Equal | Operator::Same => order.is_eq(),
            Operator::NotEqual => order.is_ne(),
            Operator::Less => order.is_lt(),
            Operator::LessEqual => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::GreaterEqual => order.is_ge(),
        })
    }
}

#[cfg(test)]
mod tests;
