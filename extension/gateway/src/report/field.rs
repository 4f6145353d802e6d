//! Columns of a result, as statistics and charts see them.

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// As the result calls it.
    pub name: String,
    /// As SQL writes it.
    pub type_name: String,
    /// What can be done with its values.
    pub kind: Kind,
}

/// What can be done with values of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Integers, floating point, numeric, money.
    Number,
    /// date, timestamp, timestamptz.
    Time,
    /// time, timetz, interval: ordered, and on no common axis.
    Clock,
    /// true and false.
    Boolean,
    /// Text, enumerations, uuid, network addresses: values that repeat.
    Text,
    /// All else.
    Other,
}

impl Field {
    /// Whether it looks like a key, whose mean and distribution say nothing.
    pub(super) fn is_key(&self) -> bool {
        let name = self.name.to_lowercase();
        self.kind == Kind::Number && (name == "id" || name.ends_with("_id") || self.name.ends_with("Id"))
    }
}
