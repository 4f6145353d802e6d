//! One channel of an answer on its way through the filters: all of its text, one thinking, the arguments of one tool call.

use pg_llm_sandbox::types::{Channel, Verdict};
use pg_llm_sandbox::{CallError as SandboxCallError, FilterStream};

use super::passage::{Fault, Surroundings};
use super::{FilterChain, OnFilterError};

/// A channel. Its filters begin with its first text.
pub(super) struct Pipe {
    channel: Channel,
    /// Those that look at answers, in the order of answers.
    stages: Option<Vec<Stage>>,
    /// It was ended, and this is the step that ended it before its end.
    over: bool,
    pub(super) cut_by: Option<usize>,
}

/// A filter at its work.
struct Stage {
    /// Its place in the chain.
    step: usize,
    /// None where it was left out.
    stream: Option<FilterStream>,
    ledger: Ledger,
}

/// What went in and has not come out.
#[derive(Default)]
struct Ledger {
    held: String,
    /// What came out is no beginning of what went in.
    changed: bool,
}

/// A step that ended the channel, with the reason.
pub(super) struct Ended {
    pub(super) step: usize,
    pub(super) fault: Fault,
}

/// What a step that failed under "pass" was left out with.
pub(super) type LeftOut = (usize, SandboxCallError);

/// What a pipe needs of the call around it.
pub(super) struct Flow<'a, 'b> {
    pub(super) chain: &'a FilterChain,
    pub(super) memos: &'a [Option<String>],
    /// Steps that are left out of this answer.
    pub(super) without: &'a [usize],
    pub(super) around: &'a mut Surroundings<'b>,
    /// Steps that were left out on the way.
    pub(super) left_out: &'a mut Vec<LeftOut>,
}

impl Pipe {
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel, stages: None, over: false, cut_by: None }
    }

    /// Some of the text; gives back what is to be handed on.
    pub(super) fn push(&mut self, text: &str, flow: &mut Flow<'_, '_>) -> Result<String, Ended> {
        if self.over || text.is_empty() {
            return Ok(String::new());
        }
        self.run(text, false, flow)
    }

    /// The end of the text; gives back what was held back. That there was none is for the filters to see only with `of_nothing`.
    pub(super) fn finish(&mut self, of_nothing: bool, flow: &mut Flow<'_, '_>) -> Result<String, Ended> {
        if self.over || (self.stages.is_none() && !of_nothing) {
            return Ok(String::new());
        }
        self.run("", true, flow)
    }

    /// The steps that changed something.
    pub(super) fn changed(&self) -> impl Iterator<Item = usize> {
        self.stages.iter().flatten().filter(|stage| stage.ledger.changed).map(|stage| stage.step)
    }

    fn run(&mut self, text: &str, mut ending: bool, flow: &mut Flow<'_, '_>) -> Result<String, Ended> {
        if self.stages.is_none() {
            self.stages = Some(self.begin(flow)?);
        }
        let mut text = text.to_owned();
        for stage in self.stages.iter_mut().flatten() {
            if text.is_empty() && !ending {
                break;
            }
            let (out, last) = stage.take(&text, ending, flow)?;
            if last && !ending {
                self.cut_by.get_or_insert(stage.step);
            }
            // What comes after a filter that ended the answer is ended with it.
            ending |= last;
            text = out;
        }
        self.over |= ending;
        if self.over {
            for stage in self.stages.iter_mut().flatten() {
                stage.end(flow);
            }
        }
        Ok(text)
    }

    fn begin(&self, flow: &mut Flow<'_, '_>) -> Result<Vec<Stage>, Ended> {
        let mut stages = Vec::new();
        for (at, step) in flow.chain.steps.iter().enumerate().rev().filter(|(at, step)| step.response && !flow.without.contains(at)) {
            let stream = match step.code.stream(flow.around.grant(), &step.config, self.channel, flow.memos[at].as_deref()) {
                Ok(stream) => Some(stream),
                Err(outcome) => {
                    flow.around.attempts.keep_of_filter(&step.name, outcome.log);
                    let error = outcome.result.err().unwrap_or_else(|| SandboxCallError::Host("an instance without its filter".to_owned()));
                    flow.pass(at, error)?;
                    None
                }
            };
            stages.push(Stage { step: at, stream, ledger: Ledger::default() });
        }
        Ok(stages)
    }
}

impl Stage {
    /// What the filter makes of `text`, and of the end. Also whether it ends the answer here.
    fn take(&mut self, text: &str, ending: bool, flow: &mut Flow<'_, '_>) -> Result<(String, bool), Ended> {
        let Some(stream) = &mut self.stream else { return Ok((text.to_owned(), false)) };
        self.ledger.held.push_str(text);
        match said(stream, text, ending) {
            Ok((out, last)) => {
                self.ledger.emitted(&out, ending && !last);
                Ok((out, last))
            }
            Err(fault) => {
                let at = self.step;
                if !fault.is_of_the_filter() || self.ledger.changed {
                    return Err(Ended { step: at, fault });
                }
                let Fault::Failed(error) = fault else { return Err(Ended { step: at, fault }) };
                flow.pass(at, *error)?;
                self.end(flow);
                // What it gave so far is what it was given: the rest is what it holds.
                Ok((std::mem::take(&mut self.ledger.held), false))
            }
        }
    }

    fn end(&mut self, flow: &mut Flow<'_, '_>) {
        if let Some(stream) = self.stream.take() {
            flow.around.attempts.keep_of_filter(&flow.chain.steps[self.step].name, stream.end().log);
        }
    }
}

impl Flow<'_, '_> {
    /// A step fails, and is left out where that is right.
    fn pass(&mut self, step: usize, error: SandboxCallError) -> Result<(), Ended> {
        let fault = Fault::failed(error.clone());
        if self.chain.on_error != OnFilterError::Pass || !fault.is_of_the_filter() {
            return Err(Ended { step, fault });
        }
        self.left_out.push((step, error));
        Ok(())
    }
}

/// What a filter says to `text` and then, where that is so, to the end; and whether it ends the answer.
fn said(stream: &mut FilterStream, text: &str, ending: bool) -> Result<(String, bool), Fault> {
    let mut out = String::new();
    if !text.is_empty() {
        match stream.push(text).map_err(Fault::failed)? {
            Verdict::Emit(some) => out = some,
            Verdict::Last(some) => return Ok((some, true)),
            Verdict::Block(reason) => return Err(Fault::Blocked(reason)),
        }
    }
    if ending {
        match stream.finish().map_err(Fault::failed)? {
            Verdict::Emit(rest) | Verdict::Last(rest) => out += &rest,
            Verdict::Block(reason) => return Err(Fault::Blocked(reason)),
        }
    }
    Ok((out, false))
}

impl Ledger {
    /// `out` came out, and with it, where that is so, the last of it.
    fn emitted(&mut self, out: &str, all: bool) {
        if self.changed {
            self.held.clear();
        } else if self.held.starts_with(out) {
            self.held.drain(..out.len());
            self.changed = all && !self.held.is_empty();
        } else {
            self.changed = true;
            self.held = String::new();
        }
    }
}
