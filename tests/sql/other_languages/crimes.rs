//! What a provider in JavaScript or Python does to its host by mistake or by intent, interpreter and all.

use pg_llm_tests::postgres::error::DbError;
use pg_llm_tests::{Backend, DEADLINE, Running, db_error, eventually};
use pg_llm_upstream::Upstream;

use super::{Asker, Language, in_each_language};

/// Somebody who has crimes committed.
pub(super) struct Victim<'l> {
    language: &'l Language,
    pub(super) client: pg_llm_tests::postgres::Client,
    backend: Backend,
    upstream: Upstream,
}

impl<'l> Victim<'l> {
    pub(super) fn new(language: &'l Language) -> Self {
        let mut client = language.database.superuser();
        let backend = Backend::of(&mut client);
        Self { language, client, backend, upstream: Upstream::start_echo() }
    }

    /// The model of a crime.
    pub(super) fn hire(&mut self, crime: &str) -> String {
        Asker::add(&mut self.client, self.language, crime, &self.upstream.url())
    }

    /// What a crime came to. Afterwards the same backend answers.
    pub(super) fn suffer(&mut self, crime: &str) -> Result<String, pg_llm_tests::postgres::Error> {
        let model = self.hire(crime);
        let said = self.client.query_one("SELECT pg_llm_chat($1, 'Do it')", &[&model]).map(|row| row.get(0));
        assert_eq!(Backend::of(&mut self.client), self.backend, "{crime}: another backend");
        said
    }

    #[track_caller]
    pub(super) fn answer(&mut self, crime: &str) -> String {
        self.suffer(crime).unwrap_or_else(|error| panic!("{crime}: {error:?}"))
    }

    #[track_caller]
    pub(super) fn error(&mut self, crime: &str) -> DbError {
        let result = self.suffer(crime);
        assert!(result.is_err(), "{crime} succeeded: {result:?}");
        db_error(result)
    }

    /// That its error is a fault of the guest, explained by these words.
    #[track_caller]
    pub(super) fn fault(&mut self, crime: &str, words: &str) {
        let error = self.error(crime);
        assert_eq!(error.code().code(), "38001", "{crime}: {error:?}");
        let detail = error.detail().unwrap_or_default();
        assert!(detail.contains(words), "{crime}: \"{words}\" is not in: {detail}");
    }

    /// Starts it, and ends it once it is under way; by what ends it and by nothing else.
    pub(super) fn ended_by_a_cancel(&mut self, crime: &str, under_way: impl Fn(Backend) -> bool) {
        let model = self.hire(crime);
        let call = Running::start(
            self.language.database.superuser(),
            &format!("SET pg_llm.guest_cpu_ms = '1h'; SELECT pg_llm_chat('{model}', 'Do it')"),
        );
        let backend = call.backend();
        assert!(eventually(DEADLINE, || under_way(backend)), "{crime} did not get under way");
        call.cancel();
        let mut outcome = call.finish(DEADLINE);
        assert_eq!(db_error(outcome.result).code().code(), "57014", "{crime}");
        assert_eq!(Backend::of(&mut outcome.client), backend, "{crime}: another backend");
    }
}

/// Whether the backend has computed for some time since it was last asked.
fn computes(backend: Backend) -> bool {
    let before = cpu_ticks(backend);
    eventually(DEADLINE, || cpu_ticks(backend) >= before + 10)
}

/// Processor time in hundredths of a second.
fn cpu_ticks(backend: Backend) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", backend.0)).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn an_endless_loop_ends_at_its_limit_and_by_a_cancel(language: &Language) {
    let mut victim = Victim::new(language);
    victim.client.batch_execute("SET pg_llm.guest_cpu_ms = 1000").unwrap();
    victim.fault("endless-loop", "computed for more than 1000 ms");
    victim.ended_by_a_cancel("endless-loop", computes);
}

fn memory_ends_at_its_limit(language: &Language) {
    let mut victim = Victim::new(language);
    let error = victim.error("memory-bomb");
    // Its interpreter may bear that, and tell it as an exception.
    let said = format!("{} {}", error.message(), error.detail().unwrap_or_default());
    assert!(said.contains("bytes of memory") || said.contains("MemoryError") || said.contains("out of memory"), "{error:?}");
    assert!(["38000", "38001"].contains(&error.code().code()), "{error:?}");
    victim.client.batch_execute("SET pg_llm.guest_memory_mb = 1").unwrap();
    victim.fault("tiny", "more than 1048576 bytes of memory");
}

fn a_deep_recursion_is_an_error(language: &Language) {
    let mut victim = Victim::new(language);
    let error = victim.error("recursion");
    assert!(["38000", "38001"].contains(&error.code().code()), "{error:?}");
}

fn a_mistake_of_the_adapter_is_told_in_its_words(language: &Language) {
    let error = Victim::new(language).error("throws");
    let said = format!("{} {}", error.message(), error.detail().unwrap_or_default());
    assert!(said.contains("a mistake of the adapter's"), "{error:?}");
}

in_each_language!(
    an_endless_loop_ends_at_its_limit_and_by_a_cancel,
    memory_ends_at_its_limit,
    a_deep_recursion_is_an_error,
    a_mistake_of_the_adapter_is_told_in_its_words,
);
