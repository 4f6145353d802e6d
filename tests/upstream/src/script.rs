//! Which reply a request gets: by path, in order, the last one for ever.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{Received, Reply, connection::Prepared, openai};

type Handler = dyn Fn(&Received) -> Reply + Send + Sync;

#[derive(Clone)]
enum Step {
    Reply(Arc<Prepared>),
    Handler(Arc<Handler>),
}

#[derive(Default)]
struct Plan {
    once: VecDeque<Step>,
    by_path: HashMap<String, VecDeque<Step>>,
    otherwise: Option<Step>,
}

#[derive(Default)]
pub(crate) struct Scripts(Mutex<Plan>);

impl Scripts {
    fn change<T>(&self, change: impl FnOnce(&mut Plan) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn begin(&self, path: &str) {
        self.change(|plan| plan.by_path.insert(path.into(), VecDeque::new()));
    }

    pub(crate) fn once(&self, reply: Reply) {
        let step = Step::Reply(Arc::new(reply.into()));
        self.change(|plan| plan.once.push_back(step));
    }

    pub(crate) fn otherwise(&self, handler: Arc<Handler>) {
        self.change(|plan| plan.otherwise = Some(Step::Handler(handler)));
    }

    pub(crate) fn answer(&self, received: &Received) -> Arc<Prepared> {
        let step = self.change(|plan| {
            plan.once.pop_front().or_else(|| match plan.by_path.get_mut(received.path()) {
                Some(steps) if steps.len() > 1 => steps.pop_front(),
                Some(steps) if !steps.is_empty() => steps.front().cloned(),
                _ => plan.otherwise.clone(),
            })
        });
        match step {
            Some(Step::Reply(prepared)) => prepared,
            Some(Step::Handler(handler)) => Arc::new(handler(received).into()),
            None => {
                let message = format!("nothing is scripted for {} {}", received.method, received.path());
                Arc::new(openai::error(404, "invalid_request_error", "unscripted", &message).into())
            }
        }
    }
}

/// The script of one path, being written. Each step answers one request; the last answers all that follow.
pub struct Script<'a> {
    pub(crate) scripts: &'a Scripts,
    pub(crate) path: String,
}

impl Script<'_> {
    fn then(self, step: Step) -> Self {
        self.scripts.change(|plan| plan.by_path.entry(self.path.clone()).or_default().push_back(step));
        self
    }

    /// Then this.
    pub fn reply(self, reply: Reply) -> Self {
        self.then(Step::Reply(Arc::new(reply.into())))
    }

    /// Then this, so many times.
    pub fn repeat(self, times: usize, reply: Reply) -> Self {
        let step = Step::Reply(Arc::new(reply.into()));
        (0..times).fold(self, |script, _| script.then(step.clone()))
    }

    /// Then what this makes of the request.
    pub fn handle(self, handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        self.then(Step::Handler(Arc::new(handler)))
    }
}
