//! The upstream as a program: a model that says what it was told, for demos, benches and trying things by hand.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

use std::{process::ExitCode, time::Duration};

use pg_llm_upstream::{Authority, Certificate, Upstream, echo};

const USAGE: &str = "\
usage: pg_llm_upstream [--port PORT] [--latency-ms MS] [--chunk-ms MS] [--tls] [--ca-file FILE]

Answers OpenAI's chat/completions, embeddings and models on 127.0.0.1, and prints its URL when it is ready.
  --port PORT       0, the default, is a free one
  --latency-ms MS   before each answer
  --chunk-ms MS     between the chunks of a stream
  --tls             HTTPS, by a certificate of an authority made now
  --ca-file FILE    where to write that authority's certificate";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let (mut builder, mut latency, mut between) = (Upstream::builder().unrecorded(), 0, 0);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
        match argument.as_str() {
            "--port" => builder = builder.port(number(&value()?)?),
            "--latency-ms" => latency = number(&value()?)?,
            "--chunk-ms" => between = number(&value()?)?,
            "--tls" => builder = builder.certificate(Certificate::Trusted),
            "--ca-file" => {
                let path = value()?;
                Authority::process().write_pem(path.as_ref()).map_err(|error| format!("{path}: {error}"))?;
            }
            "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            unknown => return Err(format!("unknown argument {unknown}\n{USAGE}")),
        }
    }
    let upstream = builder.try_start().map_err(|error| format!("cannot listen: {error}"))?;
    upstream.otherwise(move |received| {
        echo::answer(received).delay_headers(Duration::from_millis(latency)).delay_chunks(Duration::from_millis(between))
    });
    println!("{}", upstream.url());
    loop {
        std::thread::park();
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is not a number in range\n{USAGE}"))
}
