//! Posting JSON over HTTP. No address and no answer's text gets into an error: either may be a
//! secret, as the address of a Telegram bot is.

use std::time::Duration;

use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Error};

use crate::model::notice::{Refusal, is_for_now};

/// How long one request may take altogether.
const REQUEST: Duration = Duration::from_secs(15);

/// Posts a JSON text.
///
/// # Errors
/// Whether it is worth another try, and why it was refused.
pub fn post_json(address: &str, json: &str) -> Result<(), Refusal> {
    // The machine's own certificates: an administrator's counts too.
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let config = Agent::config_builder()
        .timeout_global(Some(REQUEST))
        .http_status_as_error(false)
        .max_redirects(3)
        .user_agent(concat!("forge/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls);
    let agent: Agent = config.build().into();
    match agent.post(address).header("content-type", "application/json").send(json) {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => {
            let status = response.status();
            let text = format!("the server answered {status}");
            Err(if is_for_now(status.as_u16()) { Refusal::ForNow(text) } else { Refusal::ForGood(text) })
        }
        Err(error) => Err(refusal(&error)),
    }
}

fn refusal(error: &Error) -> Refusal {
    match error {
        // The certificate is not valid, or the server does not speak TLS. forge tries again, because the clock
        // may be wrong during boot.
        Error::Io(io) if io.kind() == std::io::ErrorKind::InvalidData => {
            Refusal::ForNow("the server's certificate is not trusted, or it speaks no TLS".to_owned())
        }
        Error::Io(io) => Refusal::ForNow(io.to_string()),
        Error::Timeout(_) => Refusal::ForNow("no answer in time".to_owned()),
        Error::HostNotFound => Refusal::ForNow("the host's name cannot be resolved".to_owned()),
        Error::ConnectionFailed => Refusal::ForNow("no connection".to_owned()),
        Error::BadUri(_) | Error::Http(_) => Refusal::ForGood("the address is not a valid URL".to_owned()),
        Error::TooManyRedirects => Refusal::ForGood("too many redirects".to_owned()),
        _ => Refusal::ForNow("the request failed".to_owned()),
    }
}
