//! Names that change what they stand for, in a network of the test's own with a name server of its own: the test runs itself again there.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Cluster, db_error};
use pg_llm_upstream::{Upstream, openai};

use super::{add, chat, ordinary};

/// Set where there is such a network.
const INSIDE: &str = "PG_LLM_TEST_NETWORK";
const PUBLIC: Ipv4Addr = Ipv4Addr::new(93, 184, 215, 14);
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);

/// Every server of this network is on its loopback interface, under an address that looks like one of the internet. 77: it cannot be made here.
const SCRIPT: &str = "
    ip link set lo up && for address in 93.184.215.14 169.254.169.254 10.1.2.3; do ip address add $address/32 dev lo || exit 77; done || exit 77
    mkdir -p \"$1\" && printf 'nameserver 127.0.0.1\\noptions timeout:5 attempts:1\\n' > \"$1/resolv.conf\" && printf 'hosts: files dns\\n' > \"$1/nsswitch.conf\" || exit 77
    mount --bind \"$1/resolv.conf\" /etc/resolv.conf && mount --bind \"$1/nsswitch.conf\" /etc/nsswitch.conf || exit 77
    exec \"$2\" \"$3\" --exact --nocapture";

#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn in_a_network_of_its_own(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let folder = std::env::temp_dir().join(format!("pg_llm_network_{}", std::process::id()));
    let mut inside = Command::new("unshare");
    inside.args(["--net", "--mount", "--propagation", "private", "/bin/sh", "-c", SCRIPT, "sh"]).arg(&folder);
    let output = inside.arg(std::env::current_exe().unwrap()).arg(format!("egress::names::{test}")).env(INSIDE, "1").output();
    let _ = std::fs::remove_dir_all(folder);
    let Ok(output) = output else {
        eprintln!("SKIPPED {test}: there is no unshare(1) here");
        return;
    };
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(77) || errors.starts_with("unshare:") {
        eprintln!("SKIPPED {test}: no network of its own can be made here: {errors}");
        return;
    }
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{errors}");
}

/// What a name stands for, query after query; the last answer stays.
type Answers = HashMap<String, Vec<Vec<IpAddr>>>;

/// A name server on 127.0.0.1:53, whose answers are to be forgotten at once.
#[derive(Clone, Default)]
struct Names {
    answers: Arc<Mutex<Answers>>,
    /// Names that were asked for, for IPv4.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Names {
    fn start() -> Self {
        let (names, socket) = (Self::default(), UdpSocket::bind("127.0.0.1:53").unwrap());
        let server = names.clone();
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut query) {
                let _ = socket.send_to(&server.answer(&query[..length]), client);
            }
        });
        names
    }

    fn say(&self, name: &str, answers: &[&[IpAddr]]) {
        let answers = answers.iter().map(|answer| answer.to_vec()).collect();
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), answers);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// RFC 1035: header, the question as it was, addresses.
    fn answer(&self, query: &[u8]) -> Vec<u8> {
        let (mut at, mut labels) = (12, Vec::new());
        while query[at] != 0 {
            let end = at + 1 + usize::from(query[at]);
            labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
            at = end;
        }
        let (name, wants_v6, end) = (labels.join("."), query[at + 2] == 28, at + 5);
        let mut all = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let addresses: Vec<IpAddr> = match all.get_mut(&name) {
            Some(answers) => {
                let addresses = answers[0].iter().copied().filter(|address| address.is_ipv6() == wants_v6).collect();
                // getaddrinfo(3) asks for both kinds, for IPv4 first.
                if wants_v6 && answers.len() > 1 {
                    answers.remove(0);
                }
                addresses
            }
            None => Vec::new(),
        };
        if !wants_v6 {
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        }
        let mut answer =
            [&query[..2], &[0x81, 0x80, 0, 1, 0, u8::try_from(addresses.len()).unwrap(), 0, 0, 0, 0], &query[12..end]].concat();
        for address in addresses {
            let bytes = match address {
                IpAddr::V4(v4) => v4.octets().to_vec(),
                IpAddr::V6(v6) => v6.octets().to_vec(),
            };
            answer.extend([0xc0, 12, 0, if wants_v6 { 28 } else { 1 }, 0, 1, 0, 0, 0, 0, 0, u8::try_from(bytes.len()).unwrap()]);
            answer.extend(bytes);
        }
        answer
    }
}

/// An upstream that closes each connection, so that the next call makes another one.
fn at(address: Ipv4Addr, port: u16) -> Upstream {
    let upstream = Upstream::builder().at(address).port(port).start();
    upstream.on("/chat/completions").reply(openai::completion(&address.to_string()).header("connection", "close"));
    upstream
}

fn said_by(client: &mut Client) -> String {
    chat(client).unwrap_or_else(|code| code)
}

#[test]
fn a_name_is_followed_to_public_addresses_only_at_each_connection() {
    in_a_network_of_its_own("a_name_is_followed_to_public_addresses_only_at_each_connection", || {
        let names = Names::start();
        let public = at(PUBLIC, 0);
        let port = public.address().port();
        let (internal, private, metadata) = (at(Ipv4Addr::LOCALHOST, port), at(PRIVATE, port), at(METADATA, port));
        let database = Cluster::shared().database();
        database.superuser().batch_execute(&format!("ALTER DATABASE {} SET pg_llm.allowed_hosts = '*.test'", database.name())).unwrap();
        let mut client = ordinary(&database);
        let [loopback, private_ip, metadata_ip, public_ip] = [Ipv4Addr::LOCALHOST, PRIVATE, METADATA, PUBLIC].map(IpAddr::V4);

        // Rebound between two connections.
        names.say("rebound.test", &[&[public_ip], &[loopback]]);
        add(&mut client, &format!("http://rebound.test:{port}")).unwrap();
        assert_eq!(said_by(&mut client), PUBLIC.to_string());
        assert_eq!(names.asked(), 1, "what was checked is what was connected to: there is no second look-up");
        for _ in 0..2 {
            assert_eq!(said_by(&mut client), "42501");
        }
        let error = db_error(client.query_one("SELECT pg_llm_chat('m', 'hi')", &[]));
        assert!(format!("{error:?}").contains("loopback"), "{error:?}");

        // Among several, the others are left out, in whatever order they come.
        for (name, answer) in
            [("first.test", vec![public_ip, loopback, metadata_ip]), ("last.test", vec![metadata_ip, private_ip, loopback, public_ip])]
        {
            names.say(name, &[&answer]);
            add(&mut client, &format!("http://{name}:{port}")).unwrap();
            assert_eq!(said_by(&mut client), PUBLIC.to_string(), "{name}");
        }

        // Addresses of IPv4 in those of IPv6, and all that is not public.
        for address in [
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00::1",
            "0.0.0.0",
            "10.1.2.3",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
        ] {
            names.say("other.test", &[&[address.parse().unwrap()]]);
            add(&mut client, &format!("http://other.test:{port}")).unwrap();
            assert_eq!(said_by(&mut client), "42501", "{address}");
        }
        names.say("nothing.test", &[&[]]);
        add(&mut client, &format!("http://nothing.test:{port}")).unwrap();
        assert_eq!(said_by(&mut client), "08001");
        assert_eq!((internal.connections_total(), private.connections_total(), metadata.connections_total()), (0, 0, 0));
    });
}

#[test]
fn an_administrators_word_for_a_name_leads_to_private_addresses_and_never_to_a_clouds_metadata() {
    in_a_network_of_its_own("an_administrators_word_for_a_name_leads_to_private_addresses_and_never_to_a_clouds_metadata", || {
        let names = Names::start();
        let private = at(PRIVATE, 0);
        let port = private.address().port();
        let metadata = at(METADATA, port);
        let database = Cluster::shared().database();
        let mut admin = database.superuser();
        let [private_ip, metadata_ip] = [PRIVATE, METADATA].map(IpAddr::V4);
        names.say("internal.test", &[&[private_ip], &[metadata_ip], &[private_ip, metadata_ip]]);
        add(&mut admin, &format!("http://internal.test:{port}")).unwrap();
        assert_eq!(said_by(&mut admin), PRIVATE.to_string());
        assert_eq!(said_by(&mut admin), "42501", "whoever answers for the name does not choose that");
        assert_eq!(said_by(&mut admin), PRIVATE.to_string(), "the rest of them is as it was");
        admin.batch_execute("SET pg_llm.allowed_hosts = 'internal.test'").unwrap();
        names.say("internal.test", &[&[private_ip], &[metadata_ip]]);
        assert_eq!(said_by(&mut admin), PRIVATE.to_string());
        assert_eq!(said_by(&mut admin), "42501");

        // Private networks for all names: not for the metadata, by name or by address.
        let list = "pg_llm.allowed_hosts = '*'; SET pg_llm.allow_private_networks = on";
        admin.batch_execute(&format!("SET {list}")).unwrap();
        names.say("any.test", &[&[private_ip], &[metadata_ip]]);
        add(&mut admin, &format!("http://any.test:{port}")).unwrap();
        assert_eq!(said_by(&mut admin), PRIVATE.to_string());
        assert_eq!(said_by(&mut admin), "42501");
        add(&mut admin, &format!("http://{METADATA}:{port}")).unwrap();
        assert_eq!(said_by(&mut admin), "42501");
        assert_eq!(metadata.connections_total(), 0);
        // The address itself, from an administrator.
        admin.batch_execute(&format!("SET pg_llm.allowed_hosts = 'http://{METADATA}'")).unwrap();
        assert_eq!(said_by(&mut admin), METADATA.to_string());
        admin.batch_execute("RESET pg_llm.allowed_hosts; RESET pg_llm.allow_private_networks").unwrap();
        assert_eq!(said_by(&mut admin), METADATA.to_string());
    });
}
