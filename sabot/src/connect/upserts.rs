//! Changes as what becomes of each key: it has a new row, or none any more.
//!
//! The weights of equal rows are added up first, so the order of changes within one piece does not matter: what is left of a key is the row
//! that came, the row that was taken back, or both.
//!
//! Cost: as [`Fold`], and each row that is left is encoded and hashed once more by its key.

use std::collections::HashSet;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{FieldRef, SchemaRef};

use super::fold::{Fold, plain};
use crate::operator::without_weights;
use crate::{Error, Result};

/// By what a sink finds the row that a change is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpsertKey {
    pub(crate) columns: Vec<String>,
    /// Whether the plan says that no two rows that count have the same values in these.
    pub(crate) proven: bool,
}

impl UpsertKey {
    /// The key that the user names, or the columns by which rows differ as the plan knows them.
    ///
    /// # Errors
    /// [`Error::Usage`] if neither says anything.
    pub(crate) fn new(named: &[String], known: &[String], place: &str) -> Result<Self> {
        match (named, known) {
            ([], []) => Err(Error::Usage(format!(
                "{place} keeps one row for each key, but by which columns the rows of the changes differ is not known here; name them (`key=a,b`), or put `distinct(a, b)` before the sink, or `changelog()` to store the changes as rows"
            ))),
            ([], known) => Ok(UpsertKey { columns: known.to_vec(), proven: true }),
            (named, known) => {
                let proven = !known.is_empty() && known.iter().all(|k| named.contains(k));
                Ok(UpsertKey { columns: named.to_vec(), proven })
            }
        }
    }
}

/// What becomes of keys. No key is in two of these.
#[derive(Debug, Default)]
pub(crate) struct Net {
    /// Rows of keys that had none before.
    pub(crate) added: Vec<RecordBatch>,
    /// Rows of keys that had another before.
    pub(crate) replacing: Vec<RecordBatch>,
    /// The key's columns alone, of keys that have no row any more.
    pub(crate) gone: Vec<RecordBatch>,
}

/// Adds changes up.
pub(crate) struct Upserts {
    fold: Fold,
    key: Vec<usize>,
    converter: RowConverter,
    place: String,
}

impl Upserts {
    /// For batches of this schema, the last column of which are weights.
    ///
    /// # Errors
    /// If the schema has no such key: a bug.
    pub(crate) fn new(schema: &SchemaRef, key: &[String], place: &str) -> Result<Self> {
        let bare = without_weights(&RecordBatch::new_empty(SchemaRef::clone(schema)))?.schema();
        let at = key.iter().map(|k| bare.index_of(k)).collect::<Result<Vec<usize>, _>>()?;
        let fields = bare.project(&at)?.fields().iter().map(|f| SortField::new(plain(f.data_type()))).collect();
        Ok(Upserts { fold: Fold::new(&bare)?, key: at, converter: RowConverter::new(fields)?, place: place.to_owned() })
    }
    /// What becomes of the keys of these batches.
    ///
    /// # Errors
    /// As for [`net`](Self::net).
    pub(crate) fn of(batches: &[RecordBatch], key: &[String], place: &str) -> Result<Net> {
        let Some(first) = batches.first() else { return Ok(Net::default()) };
        let mut upserts = Upserts::new(first.schema_ref(), key, place)?;
        batches.iter().try_for_each(|b| upserts.add(b))?;
        upserts.net()
    }
    /// Takes changes in.
    pub(crate) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.fold.add(batch)
    }
    /// What becomes of the keys of all changes that were taken in.
    ///
    /// # Errors
    /// [`Error::Data`] if two rows of one key count, or were taken back.
    pub(crate) fn net(&mut self) -> Result<Net> {
        let (came, left) = self.fold.sums()?;
        let (now, before) = (self.keys(&came)?, self.keys(&left)?);
        let mut net = Net::default();
        for (batch, keys) in came.iter().zip(&now.of) {
            let (had, new): (Vec<bool>, Vec<bool>) = keys.iter().map(|k| before.all.contains(k)).map(|had| (had, !had)).unzip();
            push(&mut net.replacing, batch, had)?;
            push(&mut net.added, batch, new)?;
        }
        for (batch, keys) in left.iter().zip(&before.of) {
            let none = keys.iter().map(|k| !now.all.contains(k)).collect();
            push(&mut net.gone, &batch.project(&self.key)?, none)?;
        }
        Ok(net)
    }
    /// The keys of rows, each of which may be there once.
    fn keys(&self, batches: &[RecordBatch]) -> Result<Keys> {
        let mut keys = Keys::default();
        for batch in batches {
            let columns = batch.project(&self.key)?;
            let encoded = columns.columns().iter().map(|c| Ok(arrow_cast::cast(c, &plain(c.data_type()))?));
            let encoded = self.converter.convert_columns(&encoded.collect::<Result<Vec<ArrayRef>>>()?)?;
            let mut of = Vec::with_capacity(batch.num_rows());
            for (at, row) in encoded.iter().enumerate() {
                let row: Box<[u8]> = row.data().into();
                if !keys.all.insert(row.clone()) {
                    return Err(self.twice(&columns, at));
                }
                of.push(row);
            }
            keys.of.push(of);
        }
        Ok(keys)
    }
    fn twice(&self, key: &RecordBatch, row: usize) -> Error {
        let options = FormatOptions::default().with_display_error(true).with_null("null");
        let value = |(column, field): (&ArrayRef, &FieldRef)| {
            let text = ArrayFormatter::try_new(column, &options).map(|f| f.value(row).to_string()).unwrap_or_default();
            format!("`{}` = {text}", field.name())
        };
        let values: Vec<String> = key.columns().iter().zip(key.schema_ref().fields()).map(value).collect();
        let names: Vec<&str> = key.schema_ref().fields().iter().map(|f| f.name().as_str()).collect();
        Error::Data {
            place: self.place.clone(),
            what: format!(
                "two rows count that have the key {}: name more columns in `key=`, or put `distinct({})` before the sink",
                values.join(", "),
                names.join(", ")
            ),
        }
    }
}

/// Keys as they are encoded.
#[derive(Default)]
struct Keys {
    /// Of each row of each batch.
    of: Vec<Vec<Box<[u8]>>>,
    all: HashSet<Box<[u8]>>,
}

/// Keeps the rows that are wanted, if there are any.
fn push(out: &mut Vec<RecordBatch>, batch: &RecordBatch, wanted: Vec<bool>) -> Result<()> {
    let rows = arrow_select::filter::filter_record_batch(batch, &BooleanArray::from(wanted))?;
    if rows.num_rows() > 0 {
        out.push(rows);
    }
    Ok(())
}
