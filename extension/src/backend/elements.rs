//! The elements of an array of text, one after another: an array of a million prompts is not copied as a whole.

use std::ptr;

use pgrx::pg_sys;
use pgrx::pg_sys::Datum;

use super::calls::{Args, detoasted};
use super::encoding;
use super::errors::SqlError;

/// What is left of an array. Lives as long as the arguments of its call.
pub(crate) struct Elements {
    iterator: pg_sys::ArrayIterator,
    count: usize,
}

impl Args<'_> {
    /// An array of text; none for NULL. Of more than one dimension, element after element.
    pub(crate) fn elements(&self, index: usize) -> Option<Elements> {
        let datum = self.datum(index)?;
        // SAFETY: SQL declares this argument text[]. It is detoasted, and the iterator made, in memory that lives as long as the arguments.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(self.memory);
            let array: *mut pg_sys::ArrayType = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast();
            // As C's ARR_DIMS: the dimensions follow the head.
            let count = pg_sys::ArrayGetNItems((*array).ndim, array.add(1).cast());
            let iterator = pg_sys::array_create_iterator(array, 0, ptr::null_mut());
            pg_sys::MemoryContextSwitchTo(before);
            Some(Elements { iterator, count: usize::try_from(count).unwrap_or(0) })
        }
    }
}

impl Elements {
    /// How many there are in the whole array.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The next one, which may be NULL; none after the last.
    #[allow(clippy::option_option, reason = "an element that is NULL is one")]
    pub(crate) fn next(&mut self) -> Result<Option<Option<String>>, SqlError> {
        let (mut datum, mut null) = (Datum::null(), false);
        // SAFETY: of `elements`.
        if !unsafe { pg_sys::array_iterate(self.iterator, &raw mut datum, &raw mut null) } {
            return Ok(None);
        }
        if null { Ok(Some(None)) } else { encoding::from_server(detoasted(datum).bytes()).map(|text| Some(Some(text))) }
    }
}
