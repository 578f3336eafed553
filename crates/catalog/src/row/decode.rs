//! Reading rows by a plan.

use bytes::Bytes;

use super::format2::{self, value_of_data};
use super::plan::{Absent, Handle, Plan};
use super::{NO_COLUMNS, value_of};
use crate::codec::{CodecError, Datum, Reader};
use crate::{ChangeKind, Error, Row, Value};

impl Plan {
    /// An inserted row: handle, then the row in either format.
    pub(crate) fn insert(&self, bytes: &Bytes) -> Result<ChangeKind, Error> {
        let mut reader = Reader::new(bytes.clone());
        let handle = self.read_handle(&mut reader)?;
        let mut row = self.read_row(&mut reader)?;
        match (&self.handle, handle) {
            (Handle::RowId, _) | (Handle::Int(None), _) => {}
            (Handle::Int(Some(offset)), mut datums) => self.bind_handle(&mut row, *offset, datums.pop())?,
            (Handle::Common(offsets), datums) => {
                for (offset, datum) in offsets.iter().zip(datums) {
                    if let Some(offset) = offset {
                        self.bind_handle(&mut row, *offset, Some(datum))?;
                    }
                }
            }
        }
        for (offset, (value, absent)) in row.iter_mut().zip(&self.absent).enumerate() {
            match absent {
                Absent::Value(default) if value.is_none() => *value = Some(default.clone()),
                Absent::Unreadable(source) if value.is_none() => {
                    return Err(Error::Column {
                        column: self.name(offset).to_owned(),
                        source: source.clone(),
                    });
                }
                Absent::Unbound | Absent::Value(_) | Absent::Unreadable(_) => {}
            }
        }
        Ok(ChangeKind::Insert(row))
    }

    /// An updated row: the first value of a column is the old one, the second the new one.
    pub(crate) fn update(&self, bytes: &Bytes) -> Result<ChangeKind, Error> {
        let mut reader = Reader::new(bytes.clone());
        let mut before = self.empty();
        let mut after = self.empty();
        let mut hint = 0;
        while let Some(id) = next_id(&mut reader)? {
            let Some((offset, at)) = self.slot(id, hint) else {
                Datum::skip(&mut reader)?;
                continue;
            };
            hint = at + 1;
            let value = self.value(&mut reader, offset)?;
            let half = match before.get(offset) {
                Some(None) => &mut before,
                _ => &mut after,
            };
            match half.get_mut(offset) {
                Some(free @ None) => *free = Some(value),
                _ => {
                    return Err(Error::row(format!("column {} is there more than twice", self.name(offset))));
                }
            }
        }
        if let Some(offset) = (0..before.len()).find(|i| before[*i].is_some() != after[*i].is_some()) {
            return Err(Error::row(format!("column {} has no new value", self.name(offset))));
        }
        Ok(ChangeKind::Update { before, after })
    }

    /// A deleted row in either format.
    pub(crate) fn delete(&self, bytes: &Bytes) -> Result<ChangeKind, Error> {
        let row = self.read_row(&mut Reader::new(bytes.clone()))?;
        Ok(ChangeKind::Delete(row))
    }

    fn empty(&self) -> Row {
        vec![None; self.target.columns.len()]
    }

    fn name(&self, offset: usize) -> &str {
        self.target.columns.get(offset).map_or("?", |c| c.name.as_str())
    }

    fn value(&self, reader: &mut Reader, offset: usize) -> Result<Value, Error> {
        let datum = Datum::decode(reader)?;
        self.typed(offset, |ty| value_of(datum, ty))
    }

    fn typed(
        &self,
        offset: usize,
        convert: impl FnOnce(&crate::ColumnType) -> Result<Value, CodecError>,
    ) -> Result<Value, Error> {
        let column = self.target.columns.get(offset).ok_or_else(|| Error::row("no such column"))?;
        convert(&column.ty).map_err(|source| Error::Column { column: column.name.clone(), source })
    }

    fn read_handle(&self, reader: &mut Reader) -> Result<Vec<Datum>, Error> {
        let count = match &self.handle {
            Handle::RowId | Handle::Int(_) => 1,
            Handle::Common(columns) => columns.len(),
        };
        (0..count).map(|_| Datum::decode(reader).map_err(Error::from)).collect()
    }

    /// A handle's value counts only where the row has none: with a new collation the handle is a sort key.
    fn bind_handle(&self, row: &mut Row, offset: usize, datum: Option<Datum>) -> Result<(), Error> {
        if let (Some(free @ None), Some(datum)) = (row.get_mut(offset), datum) {
            *free = Some(self.typed(offset, |ty| value_of(datum, ty))?);
        }
        Ok(())
    }

    fn read_row(&self, reader: &mut Reader) -> Result<Row, Error> {
        let mut row = self.empty();
        if reader.peek() == Some(format2::MARK) {
            let rest = reader.take(reader.rest().len())?;
            let mut hint = 0;
            format2::walk(&rest, |id, data| {
                let Some((offset, at)) = self.slot(id, hint) else { return Ok(()) };
                hint = at + 1;
                let value = match data {
                    None => Value::Null,
                    Some(data) => self.typed(offset, |ty| value_of_data(data, ty))?,
                };
                row[offset] = Some(value);
                Ok::<(), Error>(())
            })?;
            return Ok(row);
        }
        let mut hint = 0;
        while let Some(id) = next_id(reader)? {
            let Some((offset, at)) = self.slot(id, hint) else {
                Datum::skip(reader)?;
                continue;
            };
            hint = at + 1;
            if row[offset].is_some() {
                return Err(Error::row(format!("column {} is there twice", self.name(offset))));
            }
            row[offset] = Some(self.value(reader, offset)?);
        }
        Ok(row)
    }
}

/// The next column's id; none at the end, or where a row has no columns.
fn next_id(reader: &mut Reader) -> Result<Option<i64>, Error> {
    match reader.peek() {
        None => Ok(None),
        Some(NO_COLUMNS) => {
            reader.byte()?;
            if reader.is_empty() {
                return Ok(None);
            }
            Err(Error::row("NULL in place of a column id"))
        }
        Some(_) => match Datum::decode(reader)? {
            Datum::Int(id) => Ok(Some(id)),
            other => Err(Error::row(format!("{other:?} in place of a column id"))),
        },
    }
}
