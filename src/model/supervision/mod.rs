//! Supervision: the rules of a supervisor, and its decisions.
//!
//! systemd restarts the supervisor, with its delays and its rate limit; the supervisor's exit status says
//! whether systemd is to do so.

mod policy;
mod record;
mod silence;

pub use policy::{Breaker, DELAYS, Delays, Next, Restart, status};
pub use record::{AskedQuestion, NOTICE_EVERY, Record, StartOutcome, Terms, Watched};
pub use silence::{OUTPUT_STEP, Rules, Sign, Silence};
