//! A row as it stands after its table changed.

use std::sync::Arc;

use binlog_types::Zone;

use super::cast::{cast, same_type};
use super::text::{value_of_text, zero_value};
use crate::{Column, Error, Row, Table, Value, tp};

/// What becomes of one column of the target.
#[derive(Debug)]
enum Origin {
    /// The column at this place, in the same type.
    Same(usize),
    /// The column at this place, in another type.
    Converted(usize),
    /// Newer than the row: what existing rows took when the column came.
    Added(Value),
    /// In no row of the stream (virtual, hidden, not yet public), or of a value that nothing tells.
    Unbound,
}

/// From rows of one version of a table to rows of another, with no regard to what a database did to them in between.
///
/// A column is found by its id, for names change; and by its name where the id is gone, for TiDB gives a column another id when it
/// rewrites it to change its type.
#[derive(Debug)]
pub struct Projection {
    from: Arc<Table>,
    to: Arc<Table>,
    columns: Vec<Origin>,
    dropped: Vec<usize>,
    zone: Option<Zone>,
}

impl Projection {
    /// Between two versions of a table.
    ///
    /// # Errors
    /// When the default of a column that came since does not fit its type.
    pub fn new(from: Arc<Table>, to: Arc<Table>) -> Result<Self, Error> {
        let place = |column: &Column| {
            let by_id = from.columns.iter().position(|c| c.id == column.id);
            let gone = |c: &Column| !to.columns.iter().any(|t| t.id == c.id && t.public);
            by_id.or_else(|| {
                from.columns.iter().position(|c| c.name.eq_ignore_ascii_case(&column.name) && gone(c))
            })
        };
        let mut columns = Vec::with_capacity(to.columns.len());
        let mut kept = vec![false; from.columns.len()];
        for column in &to.columns {
            columns.push(match place(column) {
                Some(at) => {
                    if let Some(kept) = kept.get_mut(at) {
                        *kept = true;
                    }
                    let same = from.columns.get(at).is_some_and(|c| c.passes_to(column));
                    if same { Origin::Same(at) } else { Origin::Converted(at) }
                }
                None if !column.is_visible() || column.is_generated() => Origin::Unbound,
                None => column.origin_value()?.map_or(Origin::Unbound, Origin::Added),
            });
        }
        let dropped = (0..from.columns.len())
            .filter(|at| !kept[*at] && from.columns.get(*at).is_some_and(Column::is_writable))
            .collect();
        Ok(Projection { from, to, columns, dropped, zone: None })
    }

    /// With the zone of the session that changed types; without, it is UTC.
    #[must_use]
    pub fn in_zone(self, zone: Option<Zone>) -> Self {
        Projection { zone, ..self }
    }

    /// Whether it makes another type of TIMESTAMPs, or the reverse: then the zone matters.
    pub fn turns_stamps(&self) -> bool {
        let is_stamp = |column: Option<&Column>| column.is_some_and(|c| c.ty.tp == tp::TIMESTAMP);
        self.columns.iter().enumerate().any(|(at, origin)| {
            let Origin::Converted(from) = origin else { return false };
            is_stamp(self.from.columns.get(*from)) != is_stamp(self.to.columns.get(at))
        })
    }

    /// The version of the rows that go in.
    pub fn source(&self) -> &Arc<Table> {
        &self.from
    }

    /// Whether rows pass as they are.
    pub fn is_identity(&self) -> bool {
        Arc::ptr_eq(&self.from, &self.to)
            || self.from.columns.len() == self.columns.len()
                && self
                    .columns
                    .iter()
                    .enumerate()
                    .all(|(at, c)| matches!(c, Origin::Same(from) if *from == at))
    }

    /// Columns whose values find no place any more.
    pub fn dropped(&self) -> impl Iterator<Item = &Column> {
        self.dropped.iter().filter_map(|at| self.from.columns.get(*at))
    }

    /// Columns that came since.
    pub fn added(&self) -> impl Iterator<Item = &Column> {
        let is_added = |at: &usize| matches!(self.columns.get(*at), Some(Origin::Added(_)));
        (0..self.columns.len()).filter(is_added).filter_map(|at| self.to.columns.get(at))
    }

    /// The row in the later version. `fill`: columns that came since hold what existing rows took then; else they stay unbound.
    ///
    /// # Errors
    /// When a value does not fit the type that its column has now.
    pub fn row(&self, row: &Row, fill: bool) -> Result<Row, Error> {
        let value = |(origin, column): (&Origin, &Column)| match origin {
            Origin::Same(at) => Ok(row.get(*at).cloned().flatten()),
            Origin::Converted(at) => match (row.get(*at), self.from.columns.get(*at)) {
                (Some(Some(value)), Some(old)) => old.cast(value, column, self.zone.as_ref()).map(Some),
                _ => Ok(None),
            },
            Origin::Added(value) => Ok(fill.then(|| value.clone())),
            Origin::Unbound => Ok(None),
        };
        self.columns.iter().zip(&self.to.columns).map(value).collect()
    }
}

impl Column {
    /// What rows hold that were there before the column; `None`: the moment of something, which the column does not say.
    ///
    /// # Errors
    /// When the text does not fit the column's type.
    pub fn origin_value(&self) -> Result<Option<Value>, Error> {
        match &self.origin_default {
            Some(raw) if self.moment(raw).is_some() => Ok(None),
            Some(raw) => self.value_of(raw).map(Some),
            None if self.ty.is_not_null() => Ok(Some(self.zero())),
            None => Ok(Some(Value::Null)),
        }
    }

    /// The value of a default's text; BIT: of its big-endian bytes.
    ///
    /// # Errors
    /// When the text does not fit the column's type.
    pub fn value_of(&self, text: &[u8]) -> Result<Value, Error> {
        value_of_text(text, &self.ty).map_err(|source| Error::Column { column: self.name.clone(), source })
    }

    /// What a NOT NULL column without a default holds where nothing is said.
    pub fn zero(&self) -> Value {
        zero_value(&self.ty)
    }

    /// Whether values of this column are values of `new` as they are.
    pub fn passes_to(&self, new: &Column) -> bool {
        same_type(&self.ty, &new.ty)
    }

    /// What a value of this column becomes where its type becomes that of `new`. `zone`: of the session that changed the type, which TIMESTAMPs
    /// are shown in; `None`: UTC.
    ///
    /// # Errors
    /// When the value does not fit the new type.
    pub fn cast(&self, value: &Value, new: &Column, zone: Option<&Zone>) -> Result<Value, Error> {
        if self.passes_to(new) {
            return Ok(value.clone());
        }
        cast(value, self, new, zone).map_err(|source| Error::Column { column: new.name.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use binlog_types::{SchemaVersion, TableId};

    use super::*;
    use crate::{ColumnType, TableBuilder};

    fn table(columns: &[(i64, &str, ColumnType)]) -> Arc<Table> {
        let mut builder = TableBuilder::new(TableId(1), "t", SchemaVersion(1));
        for (_, name, ty) in columns {
            builder = builder.column(*name, ty.clone());
        }
        let mut table = builder.build();
        for (column, (id, ..)) in table.columns.iter_mut().zip(columns) {
            column.id = *id;
        }
        Arc::new(table)
    }

    fn text(t: &'static str) -> Option<Value> {
        Some(Value::Text(t.into()))
    }

    #[test]
    fn columns_are_found_by_id_and_then_by_name() {
        let old = table(&[
            (1, "id", ColumnType::int()),
            (2, "name", ColumnType::varchar(10)),
            (3, "n", ColumnType::varchar(10)),
            (4, "gone", ColumnType::int()),
        ]);
        // `name` has another name, `n` another type and so another id, `gone` is gone and `fresh` is new.
        let new = table(&[
            (1, "id", ColumnType::bigint()),
            (6, "n", ColumnType::decimal(6, 2)),
            (2, "title", ColumnType::varchar(10)),
            (7, "fresh", ColumnType::int().not_null()),
        ]);
        let projection = Projection::new(old, new).unwrap();
        let row = vec![Some(Value::Int(5)), text("a"), text("1.5"), Some(Value::Int(9))];
        let decimal = Some(Value::Decimal("1.50".into()));
        let projected = vec![Some(Value::Int(5)), decimal.clone(), text("a"), None];
        assert_eq!(projection.row(&row, false).unwrap(), projected);
        let filled = vec![Some(Value::Int(5)), decimal, text("a"), Some(Value::Int(0))];
        assert_eq!(projection.row(&row, true).unwrap(), filled);
        let names = |columns: Vec<&Column>| columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(projection.dropped().collect()), ["gone"]);
        assert_eq!(names(projection.added().collect()), ["fresh"]);
        assert!(!projection.is_identity());
        let bad = vec![Some(Value::Int(5)), text("a"), text("no number"), None];
        assert!(projection.row(&bad, false).is_err());
    }

    #[test]
    fn names_of_an_enum_keep_their_meaning() {
        let old = table(&[(1, "e", ColumnType::enumeration(["a", "b"]))]);
        let new = table(&[(1, "e", ColumnType::enumeration(["b", "a", "c"]))]);
        let projection = Projection::new(old, Arc::clone(&new)).unwrap();
        assert_eq!(projection.row(&vec![Some(Value::Enum(1))], false).unwrap(), [Some(Value::Enum(2))]);
        assert!(Projection::new(Arc::clone(&new), new).unwrap().is_identity());
    }
}
