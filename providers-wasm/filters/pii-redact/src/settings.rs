//! The filter's configuration.

use pg_llm_guest::filter::Config;

use crate::scan::{KINDS, PiiScan};

/// JSON Schema of it.
pub(crate) const SCHEMA: &str = r#"{"type":"object","properties":{"kinds":{"type":"array","items":{"enum":["email","phone","card","iban","national_id","ip"]}},"countries":{"type":"array","items":{"enum":["us","gb","es","fr","it","de","se","cn","in","br"]}},"reversible":{"type":"boolean"},"answers":{"type":"boolean"}},"additionalProperties":false}"#;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) scan: PiiScan,
    pub(crate) reversible: bool,
    pub(crate) answers: bool,
}

impl Settings {
    pub(crate) fn parse(config: &str) -> Result<Self, String> {
        let config = Config::parse(config, &["kinds", "countries", "reversible", "answers"])?;
        let mut scan = PiiScan::default();
        if let Some(kinds) = config.words("kinds", &KINDS)? {
            scan.kinds = kinds;
        }
        if let Some(countries) = config.words("countries", &crate::national::COUNTRIES)? {
            scan.countries = countries;
        }
        Ok(Self { scan, reversible: config.flag("reversible")?.unwrap_or_default(), answers: config.flag("answers")?.unwrap_or_default() })
    }
}
