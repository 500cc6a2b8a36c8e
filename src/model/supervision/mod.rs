//! Supervision: the rules of a supervisor, and its decisions.
//!
//! systemd restarts the supervisor, after the first pause and within the start limit; both are settings of the
//! unit. forge computes the later pauses ([`DELAYS`]). The supervisor's exit status says whether systemd is to
//! restart the supervisor.

mod policy;
mod record;
mod silence;

pub use policy::{Breaker, DELAYS, Delays, Next, Restart, status};
pub use record::{AskedQuestion, NOTICE_EVERY, Record, StartOutcome, Terms, Watched};
pub use silence::{OUTPUT_STEP, Rules, Sign, Silence};
