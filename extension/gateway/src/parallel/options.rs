//! Options of a parallel chat: those of every chat, and how the answer is chosen.

use serde_json::Value;

use crate::error::ConfigError;
use crate::members::{Members, nearest};
use crate::options::ChatOptions;

/// Options, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ParallelOptions {
    /// Of each candidate's chat.
    pub chat: ChatOptions,
    /// How the answer is chosen.
    pub strategy: StrategyName,
    /// The model that judges; there with [`StrategyName::Judge`] and only then.
    pub judge_instance: Option<String>,
}

/// The names of the strategies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum StrategyName {
    Confidence,
    First,
    Vote,
    Judge,
    All,
}

/// What a chat with one model has not.
const OWN: [&str; 2] = ["strategy", "judge_instance"];

impl StrategyName {
    const ALL: [Self; 5] = [Self::Confidence, Self::First, Self::Vote, Self::Judge, Self::All];

    /// As the option has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Confidence => "confidence",
            Self::First => "first",
            Self::Vote => "vote",
            Self::Judge => "judge",
            Self::All => "all",
        }
    }
}

impl ParallelOptions {
    /// Reads `options jsonb`.
    ///
    /// # Errors
    /// As [`ChatOptions::parse`]; for a strategy that there is not, and for a judge without a name or a name without a judge.
    pub fn parse(options: &Value) -> Result<Self, ConfigError> {
        let members = Members::of("option", options)?;
        let chat = ChatOptions::parse_beside(options, &OWN)?;
        let strategy = members.get::<String>("strategy", "a string")?.map_or(Ok(StrategyName::Confidence), |word| strategy(&word))?;
        let judge_instance: Option<String> = members.get("judge_instance", "the name of a model")?;
        match (strategy, &judge_instance) {
            (StrategyName::Judge, None) => Err(ConfigError::invalid(
                "option \"strategy\": \"judge\" needs a model that judges",
                "Name one that you may use: {\"strategy\": \"judge\", \"judge_instance\": \"...\"}.".to_owned(),
            )),
            (StrategyName::Judge, Some(_)) | (_, None) => Ok(Self { chat, strategy, judge_instance }),
            (_, Some(_)) => Err(ConfigError::invalid(
                "option \"judge_instance\" is for the strategy \"judge\"",
                "Add \"strategy\": \"judge\", or leave it out.".to_owned(),
            )),
        }
    }
}

impl Default for ParallelOptions {
    fn default() -> Self {
        Self { chat: ChatOptions::default(), strategy: StrategyName::Confidence, judge_instance: None }
    }
}

fn strategy(word: &str) -> Result<StrategyName, ConfigError> {
    StrategyName::ALL.into_iter().find(|strategy| strategy.word() == word).ok_or_else(|| {
        let words = StrategyName::ALL.map(StrategyName::word);
        ConfigError::invalid(
            format!("option \"strategy\" must be one of {}, not \"{}\"", words.join(", "), crate::error::clip(word, 50)),
            nearest(word, words.into_iter()).map(|near| format!("Perhaps you meant \"{near}\".")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_strategy_is_known_by_its_word_and_confidence_is_what_nobody_says() {
        for strategy in StrategyName::ALL {
            let judge = (strategy == StrategyName::Judge).then_some("j");
            let options = ParallelOptions::parse(&json!({"strategy": strategy.word(), "judge_instance": judge, "seed": 7})).unwrap();
            assert_eq!((options.strategy, options.judge_instance.as_deref(), options.chat.sampling.seed), (strategy, judge, Some(7)));
        }
        assert_eq!(ParallelOptions::parse(&json!({})).unwrap(), ParallelOptions::default());
        assert_eq!(ParallelOptions::parse(&json!({"strategy": null, "judge_instance": null})).unwrap(), ParallelOptions::default());
    }

    #[test]
    fn what_is_no_strategy_and_no_judge_is_refused() {
        for (bad, words) in [
            (json!({"strategy": "votes"}), "must be one of confidence, first, vote, judge, all"),
            (json!({"strategy": 1}), "must be a string"),
            (json!({"strategy": "judge"}), "needs a model that judges"),
            (json!({"judge_instance": "j"}), "is for the strategy"),
            (json!({"strategy": "vote", "judge_instance": "j"}), "is for the strategy"),
            (json!({"strategy": "judge", "judge_instance": 7}), "must be the name of a model"),
            (json!({"stratgy": "vote"}), "unknown option"),
            (json!({"temperature": "hot"}), "must be a number"),
            (json!({"confidence_threshold": 2}), "must be a number from 0 to 1"),
            (json!({"fallback_instance": 7}), "must be the name of a model"),
            (json!({"first_token_timeout_ms": 5}), "is for streams"),
            (json!([]), "must be a JSON object"),
        ] {
            let error = ParallelOptions::parse(&bad).unwrap_err();
            assert!(error.message.contains(words), "{bad}: {error}");
        }
        let near = ParallelOptions::parse(&json!({"stratgy": "vote"})).unwrap_err();
        assert_eq!(near.hint.as_deref(), Some("Perhaps you meant \"strategy\"."));
    }

    #[test]
    fn a_chat_with_one_model_has_no_strategy() {
        for name in OWN {
            let error = ChatOptions::parse(&json!({name: "first"})).unwrap_err();
            assert_eq!(error.kind, crate::error::ConfigErrorKind::Invalid);
            assert!(error.hint.is_some_and(|hint| hint.contains("pg_llm_parallel_chat")), "{}", error.message);
        }
    }
}
