//! `pg_llm_chat_batch`: a chat for each element of an array.

use pg_llm_gateway::ledger::Via;

use super::batch::{Calls, Drawn, Source};
use crate::backend::calls::{Args, Returned};
use crate::backend::elements::Elements;
use crate::backend::errors::Failure;
use crate::backend::rows::{Rows, sql_set_functions};

sql_set_functions! {
    pg_llm_chat_batch_wrapper, pg_finfo_pg_llm_chat_batch_wrapper => chat_batch;
}

/// Prompts, known by their place in the array, from 1.
struct Prompts {
    elements: Elements,
    ord: i64,
}

impl Source for Prompts {
    fn draw(&mut self) -> Result<Option<Drawn>, Failure> {
        let Some(prompt) = self.elements.next()? else { return Ok(None) };
        self.ord += 1;
        Ok(Some(Drawn { key: Returned::Long(self.ord), prompt, options: None }))
    }
}

/// `(instance_name, prompts, options)`.
fn chat_batch(args: &Args<'_>) -> Result<Option<Box<dyn Rows>>, Failure> {
    let Some(elements) = args.elements(1) else { return Ok(None) };
    let calls = Calls::of(args, 2, Via::Batch)?;
    let count = elements.count();
    if count == 0 {
        return Ok(None);
    }
    Ok(Some(Box::new(calls.with(Prompts { elements, ord: 0 }, count)?)))
}
