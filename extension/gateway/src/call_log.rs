//! What is to be said of a call besides its result.

use pg_llm_sandbox::LogLine;

/// What guests logged, and what the caller is warned of. Small where there is nothing, as is the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallLog(Option<Box<Said>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    lines: Vec<LogLine>,
    private: Vec<LogLine>,
    warnings: Vec<String>,
}

/// Nothing to say.
pub static NOTHING: CallLog = CallLog(None);

impl CallLog {
    /// What providers logged.
    pub fn lines(&self) -> &[LogLine] {
        self.0.as_ref().map_or(&[], |said| &said.lines)
    }

    /// What may hold text that filters have not let through, for the server's log alone: the lines of filters, and those of providers whose answers are
    /// filtered.
    pub fn private(&self) -> &[LogLine] {
        self.0.as_ref().map_or(&[], |said| &said.private)
    }

    /// For the caller: filters that failed and were left out.
    pub fn warnings(&self) -> &[String] {
        self.0.as_ref().map_or(&[], |said| &said.warnings)
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
        self.0.as_mut().map(|said| std::mem::take(&mut said.warnings)).unwrap_or_default()
    }

    /// Adds what there is to say of another call.
    pub(crate) fn append(&mut self, other: Self) {
        if let Some(other) = other.0 {
            self.add_lines(other.lines);
            self.add_private(other.private);
            other.warnings.into_iter().for_each(|warning| self.warn(warning));
        }
    }

    /// The same with the name of a model before each line.
    pub(crate) fn of_model(mut self, instance: &str) -> Self {
        for line in self.0.iter_mut().flat_map(|said| said.lines.iter_mut().chain(&mut said.private)) {
            line.text = format!("(model \"{instance}\") {}", line.text);
        }
        self
    }

    fn said(&mut self) -> &mut Said {
        self.0.get_or_insert_default()
    }
}
