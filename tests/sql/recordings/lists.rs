//! Recorded embeddings, rankings and lists of models.

use pg_llm_tests::postgres::Row;
use pg_llm_upstream::Reply;
use serde_json::{Value, json};

use super::Replay;
use super::corpus::{Recording, items, recordings};

fn body(recording: &Recording) -> Value {
    serde_json::from_slice(&recording.body).unwrap_or_default()
}

/// What is wrong with a number that should be another.
fn far(got: f64, wanted: &Value, by: f64) -> bool {
    wanted.as_f64().is_none_or(|wanted| (wanted - got).abs() > by)
}

fn is_embedding(recording: &Recording) -> bool {
    super::LISTS.contains(&recording.kind.as_str()) && !["rerank", "models"].contains(&recording.kind.as_str())
}

fn vector_complaints(recording: &Recording, rows: &[Row]) -> Vec<String> {
    let wanted = items(&recording.expected["embeddings"]);
    let mut wrong = Vec::new();
    for (row, at) in rows.iter().zip(0_i64..) {
        let (ord, vector): (i64, Vec<f32>) = (row.get(0), row.get(1));
        let sum: f64 = vector.iter().copied().map(f64::from).sum();
        let differs = usize::try_from(at).ok().and_then(|at| wanted.get(at)).is_some_and(|wanted| {
            wanted["n"] != json!(vector.len())
                || far(sum, &wanted["sum"], 0.01)
                || items(&wanted["head"]).iter().zip(&vector).any(|(wanted, got)| far(f64::from(*got), wanted, 1e-5))
        });
        if ord != at + 1 || vector.is_empty() || differs {
            wrong.push(format!("{ord}: {} numbers of sum {sum}, beginning {:?}", vector.len(), vector.get(..4)));
        }
    }
    wrong
}

#[test]
fn every_recorded_embedding_is_a_vector() {
    let mut replay = Replay::new();
    for recording in recordings(is_embedding) {
        if !replay.add(&recording) {
            continue;
        }
        replay.serve(recording.reply());
        let vectors = items(&recording.expected["embeddings"]).len().max(items(&recording.request["json"]["instances"]).len()).max(1);
        let texts: Vec<String> = (0..vectors).map(|number| format!("text {number}")).collect();
        let (rows, error) = replay.rows("SELECT ord, embedding::float4[] FROM pg_llm_get_embeddings('r', $1) ORDER BY ord", &[&texts]);
        let mut wrong = match error {
            Some(error) => recording.error_complaints(&error),
            None if recording.must_fail() || rows.len() != vectors => vec![format!("{} vectors", rows.len())],
            None => vector_complaints(&recording, &rows),
        };
        wrong.extend(replay.request_complaints(&recording));
        replay.found.wrong(&recording, "embeddings", wrong);
    }
    replay.found.assert_none();
}

#[test]
fn every_recorded_ranking_is_rows_the_best_first() {
    let mut replay = Replay::new();
    for recording in recordings(|recording| recording.kind == "rerank") {
        if !replay.add(&recording) {
            continue;
        }
        replay.serve(recording.reply());
        let asked = &recording.request["json"];
        let documents = [&asked["documents"], &asked["input"]["documents"]].into_iter().find(|documents| documents.is_array()).unwrap();
        let documents: Vec<&str> = items(documents).iter().filter_map(Value::as_str).collect();
        let (rows, error) = replay.rows("SELECT * FROM pg_llm_rerank('r', 'query', $1)", &[&documents]);
        let got: Vec<(i64, String, f64)> = rows.iter().map(|row| (row.get("ord"), row.get("document"), row.get("score"))).collect();
        let results = items(&recording.expected["results"]);
        let mut wrong = match error {
            Some(error) => recording.error_complaints(&error),
            None if recording.must_fail() => vec![format!("no error, but {got:?}")],
            None => Vec::new(),
        };
        let as_wanted = got.len() == results.len()
            && got.iter().zip(results).all(|((ord, _, score), wanted)| wanted[0] == json!(ord - 1) && !far(*score, &wanted[1], 1e-9));
        if !results.is_empty() && !as_wanted {
            wrong.push(format!("{got:?} instead of {results:?}"));
        }
        let in_order = got.windows(2).all(|pair| pair[0].2 >= pair[1].2);
        let themselves =
            got.iter().all(|(ord, document, _)| usize::try_from(ord - 1).ok().and_then(|at| documents.get(at)) == Some(&document.as_str()));
        if !in_order || !themselves || (got.is_empty() && !recording.must_fail()) {
            wrong.push(format!("{got:?}"));
        }
        wrong.extend(replay.request_complaints(&recording));
        replay.found.wrong(&recording, "rerank", wrong);
    }
    replay.found.assert_none();
}

#[test]
fn every_recorded_list_of_models_is_rows() {
    let mut replay = Replay::new();
    for recording in recordings(|recording| recording.kind == "models") {
        if !replay.add(&recording) {
            continue;
        }
        // A page that names a next one comes again for whatever page is asked: its models are listed once.
        replay.serve(recording.reply());
        let (rows, error) = replay.rows("SELECT * FROM pg_llm_list_models('r')", &[]);
        let names: Vec<&str> = rows.iter().map(|row| row.get("model_name")).collect();
        let body = body(&recording);
        let listed = ["data", "models"].iter().map(|name| items(&body[*name])).find(|listed| !listed.is_empty()).unwrap_or_default();
        let mut wrong: Vec<String> = error.iter().flat_map(|error| recording.error_complaints(error)).collect();
        let number = recording.expected["n_models"].as_u64().unwrap_or(listed.len() as u64);
        if names.len() as u64 != number {
            wrong.push(format!("{} models instead of {number}", names.len()));
        }
        if recording.expected["first"].as_str().is_some_and(|first| names.first() != Some(&first)) {
            wrong.push(format!("the first is {:?}", names.first()));
        }
        wrong.extend(replay.request_complaints(&recording));
        replay.found.wrong(&recording, "models", wrong);
        // One that ends is listed to its end.
        replay.serve(Reply::json(200, json!({"data": [], "models": []})));
        assert_eq!(replay.rows("SELECT * FROM pg_llm_list_models('r')", &[]).0.len(), 0, "{}", recording.id);
    }
    replay.found.assert_none();
}
