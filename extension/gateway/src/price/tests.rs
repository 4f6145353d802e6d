use super::*;
use serde_json::json;

#[allow(clippy::needless_pass_by_value, reason = "a JSON literal is given away")]
fn price(value: Value) -> Result<Price, ConfigError> {
    Price::read(&Members::of("config key", &json!({ "price": value })).unwrap()).map(Option::unwrap)
}

fn usage(input: Option<u64>, output: Option<u64>, raw: Option<&Value>) -> Usage {
    Usage {
        input_tokens: input,
        output_tokens: output,
        cached_tokens: None,
        cache_write_tokens: None,
        reasoning_tokens: None,
        raw: raw.map(Value::to_string),
    }
}

fn cost(price: &Price, usage: &Usage) -> Result<String, Unknown> {
    price.cost(Some(usage)).map(|cost| cost.to_string())
}

#[test]
fn tokens_have_their_price_and_parts_of_them_their_own() {
    let price = price(json!({"input": 2.5, "output": 10, "cached_input": 1.25, "cache_write": "3.125", "reasoning": 20})).unwrap();
    assert_eq!(cost(&price, &usage(Some(1_000), Some(100), None)).unwrap(), "0.0035");
    let all = Usage {
        cached_tokens: Some(400),
        cache_write_tokens: Some(100),
        reasoning_tokens: Some(50),
        ..usage(Some(1_000), Some(100), None)
    };
    // 500 at 2.5, 400 at 1.25, 100 at 3.125; 50 at 10 and 50 at 20.
    assert_eq!(cost(&price, &all).unwrap(), "0.0035625");
    let lying = Usage { cached_tokens: Some(u64::MAX), cache_write_tokens: Some(u64::MAX), ..usage(Some(10), Some(0), None) };
    assert_eq!(cost(&price, &lying).unwrap(), "0.0000125");
}

#[test]
fn rules_point_into_the_providers_own_usage_and_a_discount_may_be_missing() {
    let price = price(json!({"currency": "EUR", "per_million": [
        {"usage": "/prompt_tokens", "price": 2.50},
        {"usage": "/prompt_tokens_details/cached_tokens", "price": -1.25},
        {"usage": "/completion_tokens", "price": 10},
    ]}))
    .unwrap();
    assert_eq!(price.currency.as_str(), "EUR");
    let raw = json!({"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 400}});
    assert_eq!(cost(&price, &usage(None, None, Some(&raw))).unwrap(), "0.003");
    assert_eq!(cost(&price, &usage(None, None, Some(&json!({"prompt_tokens": 1000, "completion_tokens": 100})))).unwrap(), "0.0035");
    for raw in [
        json!({"prompt_tokens": 1}),
        json!({"prompt_tokens": null, "completion_tokens": 1}),
        json!({"prompt_tokens": "1", "completion_tokens": 1}),
    ] {
        assert!(matches!(cost(&price, &usage(None, None, Some(&raw))), Err(Unknown::NotCounted(_))), "{raw}");
    }
}

#[test]
fn short_forms_and_rules_add_up() {
    let price =
        price(json!({"input": 3, "output": 15, "per_million": [{"usage": "/searches", "price": 10_000, "optional": true}]})).unwrap();
    let with = |raw: Value| cost(&price, &usage(Some(100), Some(10), Some(&raw))).unwrap();
    assert_eq!(with(json!({"searches": 2})), "0.02045");
    assert_eq!(with(json!({})), "0.00045");
}

#[test]
fn what_cannot_be_known_is_unknown_and_never_0() {
    let both = price(json!({"input": 1, "output": 1})).unwrap();
    assert_eq!(both.cost(None), Err(Unknown::NoUsage));
    assert_eq!(cost(&both, &usage(Some(1), None, None)), Err(Unknown::NotCounted("output_tokens".to_owned())));
    let input = price(json!({"input": 1})).unwrap();
    assert_eq!(cost(&input, &usage(Some(1), Some(1), None)), Err(Unknown::NoPrice("output")));
    assert_eq!(cost(&input, &usage(Some(1), Some(0), None)).unwrap(), "0.000001");
    let rules = price(json!({"per_million": [{"usage": "/a", "price": 1}]})).unwrap();
    assert_eq!(cost(&rules, &usage(Some(1), Some(1), None)), Err(Unknown::NoUsage));
}

#[test]
fn a_cost_is_never_negative_and_never_overflows() {
    let discount = price(json!({"per_million": [{"usage": "/a", "price": 1}, {"usage": "/b", "price": -100}]})).unwrap();
    assert_eq!(cost(&discount, &usage(None, None, Some(&json!({"a": 1, "b": 1_000_000})))).unwrap(), "0");
    let dear = json!({"per_million": vec![json!({"usage": "/a", "price": 1_000_000_000}); MOST_RULES]});
    let dear = price(dear).unwrap();
    assert_eq!(dear.cost(Some(&usage(None, None, Some(&json!({"a": u64::MAX}))))), Ok(Cost::from_billionths(i64::MAX)));
    assert!(dear.estimate(u32::MAX, u32::MAX) > Cost::ZERO);
}

#[test]
fn a_million_costs_of_a_cent_are_ten_thousand() {
    let price = price(json!({"input": 0.1, "output": 0.2})).unwrap();
    let one = price.cost(Some(&usage(Some(100), Some(100), None))).unwrap();
    let sum = (0..1_000_000).fold(Cost::ZERO, |sum, _| sum.plus(one));
    assert_eq!((one.to_string(), sum.to_string()), ("0.00003".to_owned(), "30".to_owned()));
}

#[test]
fn an_estimate_is_no_less_than_the_cost_of_as_many_tokens() {
    for config in [
        json!({"input": 2.5, "output": 10, "cached_input": 1.25, "cache_write": 3.125, "reasoning": 20}),
        json!({"per_million": [{"usage": "/i", "price": 2.5}, {"usage": "/o", "price": 10}, {"usage": "/c", "price": -1.25}]}),
    ] {
        let price = price(config).unwrap();
        let raw = json!({"i": 1000, "o": 100, "c": 5});
        let counted = Usage { cache_write_tokens: Some(1000), reasoning_tokens: Some(100), ..usage(Some(1000), Some(100), Some(&raw)) };
        assert!(price.estimate(1000, 100) >= price.cost(Some(&counted)).unwrap());
    }
}

#[test]
fn what_is_wrong_with_a_price_is_named() {
    for bad in [
        json!({}),
        json!(1),
        json!({"input": -1}),
        json!({"input": "1 USD"}),
        json!({"input": 0.000_000_000_1}),
        json!({"input": 1e10}),
        json!({"cached_input": 1}),
        json!({"cache_write": 1}),
        json!({"reasoning": 1, "input": 1}),
        json!({"input": 1, "currency": "dollar"}),
        json!({"imput": 1}),
        json!({"per_million": {}}),
        json!({"per_million": [{"usage": "prompt_tokens", "price": 1}]}),
        json!({"per_million": [{"usage": "/a"}]}),
        json!({"per_million": [{"price": 1}]}),
        json!({"per_million": [{"usage": "/a", "price": null}]}),
        json!({"per_million": vec![json!({"usage": "/a", "price": 1}); MOST_RULES + 1]}),
    ] {
        assert!(price(bad.clone()).is_err(), "{bad}");
    }
    assert_eq!(price(json!({"imput": 1})).unwrap_err().hint.as_deref(), Some("Perhaps you meant \"input\"."));
    assert!(Price::read(&Members::of("config key", &json!({"price": null})).unwrap()).unwrap().is_none());
}
