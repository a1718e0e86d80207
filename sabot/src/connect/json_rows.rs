//! Rows from texts that hold a JSON object each: lines of a file, messages.
//!
//! All texts of a batch are decoded at once. Only if that fails they are decoded one by one, to find those that are no rows.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder;
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::types::{convert, offset_zones, plain, relabel, without_dictionaries};
use crate::{Error, Result};

/// Characters of a bad text that a message shows.
const SHOWN: usize = 60;

/// Texts on their way to rows.
pub(crate) struct JsonRows {
    /// The columns to deliver.
    schema: SchemaRef,
    /// The same as the decoder makes them: every column may be null, none is a dictionary.
    decoded: SchemaRef,
    texts: Vec<u8>,
    ends: Vec<usize>,
}

impl JsonRows {
    /// Rows of these columns, found by name; other members of the objects are passed over.
    ///
    /// # Errors
    /// [`Error::Usage`] if a type has no form in JSON.
    pub(crate) fn new(schema: &SchemaRef, place: &str) -> Result<Self> {
        let field = |f: &Field| Field::new(f.name(), offset_zones(&without_dictionaries(f.data_type())), true);
        let decoded: SchemaRef = Arc::new(Schema::new(schema.fields().iter().map(|f| field(f)).collect::<Vec<Field>>()));
        let rows = JsonRows { schema: Arc::clone(schema), decoded, texts: Vec::new(), ends: Vec::new() };
        for field in rows.decoded.fields() {
            let alone = Arc::new(Schema::new(vec![field.as_ref().clone()]));
            if ReaderBuilder::new(alone).build_decoder().is_err() {
                let (name, what) = (field.name(), plain(field.data_type()));
                return Err(Error::usage(format!("{place}: column `{name}` is a {what}, which cannot be read from JSON")));
            }
        }
        Ok(rows)
    }
    /// Adds a text.
    pub(crate) fn push(&mut self, text: &[u8]) {
        self.texts.extend_from_slice(text);
        self.ends.push(self.texts.len());
    }
    fn decoder(&self) -> Result<Decoder> {
        Ok(ReaderBuilder::new(Arc::clone(&self.decoded)).with_batch_size(self.ends.len() + 2).build_decoder()?)
    }
    fn each(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.texts.get(start..*end).unwrap_or_default())
    }
    /// The rows of the texts added since the last call, and those that are no rows, with the reason.
    ///
    /// # Errors
    /// If Arrow refuses the rows as a whole.
    pub(crate) fn finish(&mut self) -> Result<(RecordBatch, Vec<(usize, String)>)> {
        let together = self.together()?;
        let (batch, bad) = match together {
            Some(batch) => self.judged(batch)?,
            None => self.one_by_one()?,
        };
        self.texts.clear();
        self.ends.clear();
        Ok((batch, bad))
    }
    /// All texts in one pass; `None` if one of them is broken.
    fn together(&self) -> Result<Option<RecordBatch>> {
        let mut decoder = self.decoder()?;
        for (number, text) in self.each().enumerate() {
            if add(&mut decoder, text, number + 1).is_err() {
                return Ok(None);
            }
        }
        match decoder.flush() {
            Ok(Some(batch)) => Ok(Some(batch)),
            Ok(None) => Ok(Some(RecordBatch::new_empty(Arc::clone(&self.decoded)))),
            Err(_) => Ok(None),
        }
    }
    fn one_by_one(&self) -> Result<(RecordBatch, Vec<(usize, String)>)> {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for (number, text) in self.each().enumerate() {
            let mut decoder = self.decoder()?;
            let row = add(&mut decoder, text, 1).and_then(|()| decoder.flush().map_err(|e| reason(&e)));
            match row {
                Ok(Some(row)) => match self.missing(&row).first() {
                    Some((_, why)) => bad.push((number, why.clone())),
                    None => good.push(row),
                },
                Ok(None) => bad.push((number, "the text is empty".to_owned())),
                Err(why) => bad.push((number, format!("{}: {}", self.in_words(&why), shown(text)))),
            }
        }
        let batch = arrow_select::concat::concat_batches(&self.decoded, &good)?;
        Ok((self.conform(&batch)?, bad))
    }
    /// A reason of the decoder's, with columns and types as a user writes them.
    fn in_words(&self, why: &str) -> String {
        let named = why.strip_prefix("whilst decoding field '").and_then(|rest| rest.split_once("': "));
        let Some((field, (name, rest))) = named.and_then(|(name, rest)| Some((self.schema.field_with_name(name).ok()?, (name, rest))))
        else {
            return format!("no JSON object of this record: {why}");
        };
        let data_type = without_dictionaries(field.data_type());
        format!("column `{name}`: {}", rest.replace(&data_type.to_string(), &plain(&data_type)))
    }
    /// Leaves out rows without a value where there must be one.
    fn judged(&self, batch: RecordBatch) -> Result<(RecordBatch, Vec<(usize, String)>)> {
        let bad = self.missing(&batch);
        if bad.is_empty() {
            return Ok((self.conform(&batch)?, bad));
        }
        let mut keep = vec![true; batch.num_rows()];
        for (row, _) in &bad {
            if let Some(k) = keep.get_mut(*row) {
                *k = false;
            }
        }
        let kept = arrow_select::filter::filter_record_batch(&batch, &BooleanArray::from(keep))?;
        Ok((self.conform(&kept)?, bad))
    }
    /// The rows that lack a value, in order.
    fn missing(&self, batch: &RecordBatch) -> Vec<(usize, String)> {
        let mut rows = std::collections::BTreeMap::new();
        for (field, column) in self.schema.fields().iter().zip(batch.columns()).filter(|(f, _)| !f.is_nullable()) {
            let Some(nulls) = column.logical_nulls().filter(|n| n.null_count() > 0) else { continue };
            for row in (0..column.len()).filter(|row| nulls.is_null(*row)) {
                let name = field.name();
                rows.entry(row).or_insert_with(|| format!("`{name}` is missing or null; declare it as `Option<..>` if it may be"));
            }
        }
        rows.into_iter().collect()
    }
    fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.schema.fields().iter().zip(batch.columns());
        let columns = columns.map(|(field, column)| {
            let column = relabel(column, &same_zones(column.data_type(), field.data_type()))?;
            convert(&column, field.data_type())
        });
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns.collect::<Result<Vec<ArrayRef>>>()?, &options)?)
    }
}

/// What is read under an offset has the zone that was asked for.
fn same_zones(read: &DataType, wanted: &DataType) -> DataType {
    let plain = without_dictionaries(wanted);
    if offset_zones(&plain) == *read { plain } else { read.clone() }
}

/// Adds one text, which must be one object.
fn add(decoder: &mut Decoder, text: &[u8], rows: usize) -> Result<(), String> {
    let read = decoder.decode(text).map_err(|e| reason(&e))?;
    let rest = text.get(read..).unwrap_or_default();
    if decoder.has_partial_record() || decoder.len() < rows {
        return Err("the text ends within a value".into());
    }
    if decoder.len() > rows || rest.iter().any(|b| !b.is_ascii_whitespace()) {
        return Err("more than one value".into());
    }
    Ok(())
}

fn reason(error: &arrow_schema::ArrowError) -> String {
    match error {
        arrow_schema::ArrowError::JsonError(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A text as a message shows it.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.trim_ascii());
    let mut short: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().count() > SHOWN {
        short.push_str("...");
    }
    format!("`{short}`")
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Int64Type, TimestampMicrosecondType};
    use arrow_schema::TimeUnit;

    use super::*;

    fn rows(fields: Vec<Field>, texts: &[&str]) -> (RecordBatch, Vec<(usize, String)>) {
        let mut rows = JsonRows::new(&Arc::new(Schema::new(fields)), "test").unwrap();
        texts.iter().for_each(|t| rows.push(t.as_bytes()));
        rows.finish().unwrap()
    }

    #[test]
    fn good_texts_become_rows() {
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Paris".into()));
        let dict = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let fields =
            vec![Field::new("n", DataType::Int64, false), Field::new("at", zoned.clone(), true), Field::new("d", dict.clone(), true)];
        let texts = [r#"{"n":1,"at":"1970-01-01T01:00:00+01:00","d":"x","more":[1]}"#, " {\"d\":null,\"n\":2}\n"];
        let (batch, bad) = rows(fields, &texts);
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[1, 2]);
        assert_eq!(batch.column(1).as_primitive::<TimestampMicrosecondType>().value(0), 0);
        assert_eq!((batch.column(1).data_type(), batch.column(2).data_type()), (&zoned, &dict));
        assert!(batch.column(1).is_null(1));
    }

    #[test]
    fn bad_texts_are_named_and_left_out() {
        let fields = || vec![Field::new("n", DataType::Int64, false)];
        for bad in
            ["", "  ", "{", "{}", "{\"n\":null}", "{\"n\":\"x\"}", "{\"n\":1}{\"n\":2}", "[1]", "nonsense", "{\"n\":1} x", "7", "\"n\""]
        {
            let (batch, found) = rows(fields(), &["{\"n\":1}", bad, "{\"n\":3}"]);
            assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[1, 3], "{bad}");
            assert_eq!(found.iter().map(|b| b.0).collect::<Vec<_>>(), [1], "{bad}: {found:?}");
            assert!(!found[0].1.is_empty());
        }
        let why = |text: &str| rows(fields(), &[text]).1.remove(0).1;
        assert_eq!(why("{\"n\":\"x\"}\n"), "column `n`: failed to parse \"x\" as i64: `{\\\"n\\\":\\\"x\\\"}`");
        assert!(why("nonsense").starts_with("no JSON object of this record: "), "{}", why("nonsense"));
        let (batch, bad) = rows(fields(), &["x"; 3]);
        assert_eq!((batch.num_rows(), bad.len()), (0, 3));
        assert_eq!(rows(fields(), &[]).0.num_rows(), 0);
    }
}
