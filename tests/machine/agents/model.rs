//! The model server, as a user unit, and its log of the agents' requests.

use crate::support::{systemctl, wait_for, wait_until};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

pub(crate) const PORT: u16 = 8099;

const LOG: &str = "/home/ada/model.log";
const HOLD: &str = "/home/ada/model.hold";

/// The model server; it keeps running for the next tests.
pub(crate) struct Model {
    log: &'static Path,
    hold: &'static Path,
}

/// The user's texts in one request, in order.
struct Request {
    n: u64,
    said: Vec<u64>,
}

/// Everything logged so far.
#[derive(Default)]
struct Log {
    texts: HashMap<u64, String>,
    requests: Vec<Request>,
    answered: Vec<u64>,
}

impl Model {
    /// Starts the server unless it runs.
    #[track_caller]
    pub(crate) fn started() -> Self {
        if systemctl(&["is-active", "model.service"]).code != 0 {
            let unit = format!(
                "[Service]\nEnvironment=MODEL_PORT={PORT} MODEL_LOG={LOG} MODEL_HOLD={HOLD}\n\
                 ExecStart=/opt/agents/bin/node /home/ada/model.js\n"
            );
            write("/home/ada/model.js", include_str!("../../agents/model.js"));
            write("/home/ada/.config/systemd/user/model.service", &unit);
            systemctl(&["daemon-reload"]).ok();
            systemctl(&["start", "model.service"]).ok();
            wait_until(Duration::from_secs(20), "the model server to listen", || {
                std::net::TcpStream::connect(("127.0.0.1", PORT)).is_ok()
            });
        }
        let model = Self { log: Path::new(LOG), hold: Path::new(HOLD) };
        model.go_on();
        model
    }

    /// Holds all answers back from now on: none is completed.
    pub(crate) fn hold(&self) {
        fs::write(self.hold, "").expect("the file that holds answers");
    }

    /// Completes the answers again.
    pub(crate) fn go_on(&self) {
        let _ = fs::remove_file(self.hold);
    }

    /// Waits until a conversation contains this text.
    #[track_caller]
    pub(crate) fn hears(&self, text: &str) {
        wait_until(Duration::from_secs(30), &format!("the model to hear '{}'", start_of(text)), || {
            self.times(text) > 0
        });
    }

    /// Waits until every request is answered or was abandoned for a later one.
    #[track_caller]
    pub(crate) fn answers(&self) {
        wait_for(Duration::from_secs(30), "the model's answers", || {
            let log = Log::read(self.log);
            let last = log.requests.last()?;
            log.answered.contains(&last.n).then_some(())
        });
    }

    /// How often a conversation contains the complete text: the maximum over all conversations. The first
    /// word of a text identifies it, so an incomplete text fails the test.
    #[track_caller]
    pub(crate) fn times(&self, text: &str) -> usize {
        let name = text.split_whitespace().next().expect("a word");
        let log = Log::read(self.log);
        let within = |said: &[u64], what: &str| -> usize {
            said.iter().filter_map(|id| log.texts.get(id)).map(|said| said.matches(what).count()).sum()
        };
        let mut most = 0;
        for request in &log.requests {
            let (whole, named) = (within(&request.said, text), within(&request.said, name));
            assert_eq!(whole, named, "'{}' was submitted, but not as it was sent", start_of(text));
            most = most.max(whole);
        }
        most
    }
}

impl Model {
    /// The texts that the user has said in the last request with this text.
    #[track_caller]
    pub(crate) fn said_with(&self, text: &str) -> Vec<String> {
        let log = Log::read(self.log);
        let said = |request: &Request| -> Vec<String> {
            request.said.iter().filter_map(|id| log.texts.get(id).cloned()).collect()
        };
        let has = |said: &Vec<String>| said.iter().any(|said| said.contains(text));
        log.requests.iter().rev().map(said).find(has).unwrap_or_else(|| panic!("nobody said '{text}'"))
    }
}

impl Log {
    fn read(path: &Path) -> Self {
        let mut log = Self::default();
        let text = fs::read_to_string(path).unwrap_or_default();
        // The last line may be incomplete.
        for entry in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            if let (Some(id), Some(is)) = (entry["text"].as_u64(), entry["is"].as_str()) {
                log.texts.insert(id, is.to_owned());
            } else if let (Some(n), Some(said)) = (entry["request"].as_u64(), entry["said"].as_array()) {
                log.requests.push(Request { n, said: said.iter().filter_map(Value::as_u64).collect() });
            } else if let Some(n) = entry["answered"].as_u64() {
                log.answered.push(n);
            }
        }
        log
    }
}

/// Writes a file in the user's home, and creates its directories.
#[track_caller]
pub(crate) fn write(path: &str, text: &str) {
    let path = Path::new(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("its folders");
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn start_of(text: &str) -> String {
    text.chars().take(40).collect()
}
