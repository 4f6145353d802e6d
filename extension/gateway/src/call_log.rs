//! What is to be said of a call besides its result.

use pg_llm_sandbox::LogLine;

use crate::price::Spent;

/// What guests logged, what the caller is warned of, and what it cost. Small where there is little, as is the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallLog {
    said: Option<Box<Said>>,
    spent: Spent,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    lines: Vec<LogLine>,
    private: Vec<LogLine>,
    warnings: Vec<String>,
}

/// Nothing to say.
pub static NOTHING: CallLog = CallLog { said: None, spent: Spent::Nothing };

impl CallLog {
    /// What providers logged.
    pub fn lines(&self) -> &[LogLine] {
        self.said.as_ref().map_or(&[], |said| &said.lines)
    }

    /// What may hold text that filters have not let through, for the server's log alone: the lines of filters, and those of providers whose answers are
    /// filtered.
    pub fn private(&self) -> &[LogLine] {
        self.said.as_ref().map_or(&[], |said| &said.private)
    }

    /// For the caller: filters that failed and were left out.
    pub fn warnings(&self) -> &[String] {
        self.said.as_ref().map_or(&[], |said| &said.warnings)
    }

    /// What its requests cost, of whatever model.
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// Adds the cost of one more.
    pub(crate) fn spend(&mut self, spent: Spent) {
        self.spent.add(spent);
    }

    pub(crate) fn add_lines(&mut self, lines: Vec<LogLine>) {
        if !lines.is_empty() {
            self.said().lines.extend(lines);
        }
    }

    pub(crate) fn add_private(&mut self, lines: Vec<LogLine>) {
        if !lines.is_empty() {
            self.said().private.extend(lines);
        }
    }

    /// Adds a warning, once.
    pub(crate) fn warn(&mut self, what: String) {
        let warnings = &mut self.said().warnings;
        if !warnings.contains(&what) {
            warnings.push(what);
        }
    }

    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        self.said.as_mut().map(|said| std::mem::take(&mut said.warnings)).unwrap_or_default()
    }

    /// Adds what there is to say of another call.
    pub(crate) fn append(&mut self, other: Self) {
        self.spent.add(other.spent);
        if let Some(other) = other.said {
            self.add_lines(other.lines);
            self.add_private(other.private);
            other.warnings.into_iter().for_each(|warning| self.warn(warning));
        }
    }

    /// The same with the name of a model before each line.
    pub(crate) fn of_model(mut self, instance: &str) -> Self {
        for line in self.said.iter_mut().flat_map(|said| said.lines.iter_mut().chain(&mut said.private)) {
            line.text = format!("(model \"{instance}\") {}", line.text);
        }
        self
    }

    fn said(&mut self) -> &mut Said {
        self.said.get_or_insert_default()
    }
}
