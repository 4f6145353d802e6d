//! Recorded responses of real providers, from the folder beside the checkout. They are other people's data: none is part of it.

use std::fs;
use std::path::Path;

use pg_llm_upstream::Reply;
use serde_json::Value;

/// A response as it was on the wire, what was asked, and what is to come of it.
pub(super) struct Recording {
    pub(super) id: String,
    pub(super) provider: String,
    /// Which of the provider's interfaces answered, such as `chat` or `embeddings`.
    pub(super) kind: String,
    pub(super) stream: bool,
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) request: Value,
    /// What the provider's own client made of it; null where nobody asked it.
    pub(super) expected: Value,
}

/// All of them that are wanted, by name. None, and a word on standard error, where the folder is missing.
pub(super) fn recordings(wanted: impl Fn(&Recording) -> bool) -> Vec<Recording> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/recordings/corpus");
    let Ok(providers) = fs::read_dir(&corpus) else {
        eprintln!("skipped: there are no recordings at {}", corpus.display());
        return Vec::new();
    };
    let folders = providers.map(|provider| provider.unwrap().path()).filter(|path| path.is_dir());
    let folders = folders.flat_map(|provider| fs::read_dir(provider).unwrap().map(|entry| entry.unwrap().path()));
    let mut all: Vec<Recording> =
        folders.filter(|folder| folder.join("meta.json").is_file()).map(|folder| Recording::read(&folder)).filter(wanted).collect();
    all.sort_by(|one, other| one.id.cmp(&other.id));
    all
}

impl Recording {
    fn read(folder: &Path) -> Self {
        let json = |name: &str| fs::read(folder.join(name)).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
        let meta = json("meta.json");
        let text = |name: &str| meta[name].as_str().unwrap().to_owned();
        let headers = meta["headers"].as_object().unwrap().iter();
        Self {
            id: text("id"),
            provider: text("provider"),
            kind: text("kind"),
            stream: meta["stream"].as_bool().unwrap(),
            status: u16::try_from(meta["status"].as_u64().unwrap()).unwrap(),
            headers: headers.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect(),
            body: fs::read(folder.join("response.body")).unwrap(),
            request: json("request.json"),
            expected: json("expected.json"),
        }
    }

    /// Where it was asked.
    pub(super) fn path(&self) -> &str {
        self.request["path"].as_str().unwrap()
    }

    /// Whether the recorded request was for a stream, whatever came.
    pub(super) fn asks_for_a_stream(&self) -> bool {
        self.stream || self.path().to_ascii_lowercase().contains("stream") || self.request["json"]["stream"] == true
    }

    /// Whether an error is to come of it.
    pub(super) fn must_fail(&self) -> bool {
        self.expected["norm"]["must"].is_string()
    }

    /// Every reading of a field that is legitimate; empty where nothing is known.
    pub(super) fn allowed(&self, name: &str) -> &[Value] {
        items(&self.expected["norm"][name])
    }

    pub(super) fn content_type(&self) -> &str {
        let named = self.headers.iter().find(|(name, _)| name == "content-type");
        named.map_or("", |(_, value)| value)
    }

    fn is_server_sent_events(&self) -> bool {
        self.content_type().starts_with("text/event-stream")
    }

    /// The response, in one piece and of a known length.
    pub(super) fn reply(&self) -> Reply {
        let reply = Reply::bytes(self.status, self.content_type(), self.body.clone());
        self.with_headers(reply)
    }

    /// The response with another body, chunked, each piece written on its own.
    pub(super) fn reply_in(&self, pieces: Vec<Vec<u8>>) -> Reply {
        let reply = Reply::chunks(self.content_type(), pieces).with_status(self.status);
        self.with_headers(reply.delay_chunks(std::time::Duration::from_nanos(1)))
    }

    fn with_headers(&self, reply: Reply) -> Reply {
        let others = self.headers.iter().filter(|(name, _)| name != "content-type");
        others.fold(reply, |reply, (name, value)| reply.header(name, value))
    }

    /// A stream in several ways that mean the same.
    pub(super) fn ways(&self) -> Vec<(&'static str, Reply)> {
        let cut = |body: &[u8], size: usize| self.reply_in(body.chunks(size).map(<[u8]>::to_vec).collect());
        let mut ways = vec![
            ("event by event", self.reply_in(self.events())),
            ("byte by byte", cut(&self.body, 1)),
            ("in threes", cut(&self.body, 3)),
            ("at once, of known length", self.reply()),
        ];
        if self.is_server_sent_events() {
            ways.push(("CRLF, byte by byte", cut(&self.with_crlf(), 1)));
            ways.push(("CRLF, in sevens", cut(&self.with_crlf(), 7)));
            ways.push(("with comments", cut(&self.with_comments(), 97)));
        }
        ways
    }

    fn with_crlf(&self) -> Vec<u8> {
        let mut with = Vec::new();
        for (at, byte) in self.body.iter().enumerate() {
            if *byte == b'\n' && (at == 0 || self.body[at - 1] != b'\r') {
                with.push(b'\r');
            }
            with.push(*byte);
        }
        with
    }

    /// With a comment after every event, as servers send to keep a connection alive.
    fn with_comments(&self) -> Vec<u8> {
        self.events().into_iter().flat_map(|event| [event, b": keep-alive\n\n".to_vec()].concat()).collect()
    }

    /// A stream's events: of server-sent events, lines of JSON, or binary messages.
    pub(super) fn events(&self) -> Vec<Vec<u8>> {
        let mut events = Vec::new();
        let mut rest = self.body.as_slice();
        while !rest.is_empty() {
            let (event, others) = rest.split_at(self.event_length(rest).min(rest.len()));
            events.push(event.to_vec());
            rest = others;
        }
        events
    }

    fn event_length(&self, rest: &[u8]) -> usize {
        if self.content_type().contains("amazon.eventstream") {
            return rest.first_chunk().map_or(rest.len(), |length| u32::from_be_bytes(*length) as usize).max(16);
        }
        let ends: &[&[u8]] = if self.is_server_sent_events() { &[b"\n\n", b"\r\n\r\n"] } else { &[b"\n"] };
        let after = |end: &&[u8]| rest.windows(end.len()).position(|window| window == *end).map(|at| at + end.len());
        ends.iter().filter_map(after).min().unwrap_or(rest.len())
    }
}

/// The items of a list; none of what is no list.
pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
