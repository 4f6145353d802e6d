//! Confidence, from what the provider gave. Never invented.

use pg_llm_sandbox::types::TokenLogprob;

/// The geometric mean of the chosen tokens' probabilities, in 0..=1; none without log probabilities, or where one of them is no logarithm of a probability.
pub(crate) fn from_logprobs(tokens: &[TokenLogprob]) -> Option<f64> {
    if tokens.is_empty() || tokens.iter().any(|t| t.logprob.is_nan() || t.logprob == f64::INFINITY) {
        return None;
    }
    // Rounding makes some providers' certainties slightly more than certain.
    #[allow(clippy::cast_precision_loss)]
    let mean = tokens.iter().map(|t| t.logprob.min(0.0)).sum::<f64>() / tokens.len() as f64;
    Some(mean.exp()).filter(|c| c.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_is_the_mean_probability_or_nothing() {
        let token = |logprob| TokenLogprob { token: "x".into(), logprob, alternatives: vec![] };
        assert_eq!(from_logprobs(&[]), None);
        assert_eq!(from_logprobs(&[token(0.0)]), Some(1.0));
        let c = from_logprobs(&[token(0.5_f64.ln()), token(0.125_f64.ln())]).unwrap();
        assert!((c - 0.25).abs() < 1e-12);
        for absurd in [f64::NAN, f64::INFINITY] {
            assert_eq!(from_logprobs(&[token(0.0), token(absurd)]), None, "a lie of the provider is no number of ours");
        }
    }
}
