//! Waits until a started program is up: its ready pattern matches, or it has run for a moment.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::model::error::{Error, Kind, Result};
use crate::model::event::Event;
use crate::model::internal_command::InternalCommand;
use crate::model::screen::blocker::Blocker;
use crate::model::screen::last_rows;
use crate::model::session::command::Argv;
use crate::model::session::spec::Spec;
use crate::model::session::{Mark, environment};
use crate::ops::session::exited;
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::{Deadline, millis_since};
use crate::sys::process::Process;
use crate::sys::tmux::watch::{ScreenWait, until};
use crate::sys::tmux::{ANSWER, Server, on_end};
use crate::sys::{env, journal};

/// How long a program without a ready pattern must run to count as up.
const SETTLE: Duration = Duration::from_millis(50);

/// A program that has been started in its pane.
pub(super) struct StartedProgram<'a> {
    pub spec: &'a Spec,
    pub argv: &'a Argv,
    pub mark: &'a Mark,
    pub process: &'a Process,
    /// The cgroup of the session's slice.
    pub cgroup: &'a Cgroup,
    pub server: Server,
}

impl StartedProgram<'_> {
    /// Waits until the program is up, and sets the server's hook that reports the program's end. Returns whether the
    /// program is ready.
    ///
    /// # Errors
    /// [`Kind::Ended`] if the program or its server ends; [`Kind::Asking`] if the program waits for an answer;
    /// [`Kind::Deadline`] if the session's own ready pattern does not match within its ready timeout.
    pub(super) fn wait_until_up(&self, forge: &Path) -> Result<bool> {
        let mut is_ready = true;
        if self.spec.ready.is_some() {
            is_ready = self.wait_until_ready()?;
        } else if self.process.wait(Deadline::after(SETTLE)) {
            return Err(self.ended_error());
        }
        // Set the hook first, then check: the hook reports every later end, and this check finds every
        // earlier one.
        self.set_end_hook(forge)?;
        if self.process.ended() { Err(self.ended_error()) } else { Ok(is_ready) }
    }

    /// Waits until the ready pattern matches the screen, and records that in the journal. Fails as soon as a
    /// question waits for the user: no program answers it, so a longer wait changes nothing.
    ///
    /// Returns false if the pattern of an agent's profile did not match in time. The agent lives, and may be of a
    /// version with another prompt.
    fn wait_until_ready(&self) -> Result<bool> {
        let (start, spec) = (Instant::now(), self.spec);
        let limit = Duration::from_secs(spec.ready_timeout_s);
        journal::progress!("waiting for {} to be ready ('{}')", spec.session, self.ready_pattern());
        let prompts = spec.prompts();
        let (mut is_ready, mut blocker) = (false, Blocker::default());
        let is_decided = |screen: &str| {
            is_ready = prompts.is_ready(screen);
            is_ready || blocker.waits_for_user(&prompts, screen, start.elapsed())
        };
        match until(&self.server, self.mark, self.process, Deadline::after(limit), is_decided)? {
            ScreenWait::Found if is_ready => {
                let elapsed_ms = millis_since(start);
                journal::record(&Event::Ready { session: spec.session.clone(), elapsed_ms });
                Ok(true)
            }
            ScreenWait::Found if !self.process.ended() => {
                Err(self.asks_error(blocker.pattern().unwrap_or_default()))
            }
            ScreenWait::Found | ScreenWait::ProgramEnded => Err(self.ended_error()),
            ScreenWait::ServerGone => Err(Error::new(
                Kind::Ended,
                format!("the tmux server of {} ended while it was starting", spec.session),
            )),
            ScreenWait::Late if spec.ready_is_agents && blocker.pattern().is_none() => Ok(false),
            ScreenWait::Late => Err(self.never_ready_error(limit)),
        }
    }

    fn ready_pattern(&self) -> &str {
        self.spec.ready.as_ref().map_or("", |ready| ready.as_str())
    }

    /// Makes the server run forge when the program ends.
    fn set_end_hook(&self, forge: &Path) -> Result<()> {
        // The session may be given another HOME. The hook finds forge's files with this process's variables.
        let given = self.spec.env.iter().map(|(name, _)| name.as_str());
        let own: Vec<_> = given
            .filter(|name| environment::PLACE.contains(name))
            .map(|name| (name, env::variable(name)))
            .collect();
        let command = InternalCommand::PaneDied { session: self.spec.session.to_string() }.words();
        let hook = on_end(self.mark, forge, &command, &own)?;
        let hook: Vec<&str> = hook.iter().map(String::as_str).collect();
        self.server.run_command(&hook, Deadline::after(ANSWER)).map(drop)
    }

    /// The error for a program that ended before the session was up: how it ended, and its last screen.
    fn ended_error(&self) -> Error {
        let Self { spec, argv, mark, cgroup, .. } = self;
        let end = match exited::query_end(&spec.session, mark, cgroup.oom_kills()) {
            Ok(end) => end,
            Err(error) => return error.while_("the program ended, and its server does not report how"),
        };
        let (name, how) = (argv.name(), end.words());
        let error = Error::new(
            Kind::Ended,
            format!("{name} ended before {} was up: {how}{}", spec.session, self.last_rows()),
        )
        .hint(format!("run it by hand in {} to see why", spec.cwd.display()));
        Error { program_status: Some(end.shell_status()), ..error }
    }

    /// The error for a question that waits for the user.
    fn asks_error(&self, pattern: &str) -> Error {
        let message = format!(
            "boot failed: the program waits for an answer: {pattern} is on its screen{}",
            self.last_rows()
        );
        Error::new(Kind::Asking, message).hint(self.how_to_answer())
    }

    /// The hint for a question that the program asks before it is ready. Most programs ask it only once.
    fn how_to_answer(&self) -> String {
        format!(
            "answer it once: run {} in {} by hand, or 'forge spawn NAME --agent generic -- COMMAND' there and then 'forge attach NAME'; or is the pattern right?",
            self.argv.name(),
            self.spec.cwd.display()
        )
    }

    /// The error for a ready pattern that did not match in time.
    fn never_ready_error(&self, limit: Duration) -> Error {
        let screen = self.server.screen(&self.mark.pane, None, Deadline::after(ANSWER)).unwrap_or_default();
        let prompts = self.spec.prompts();
        let blocking = prompts.blocking(&screen);
        let what = blocking.map_or_else(String::new, |blocking| format!("; {blocking} is on its screen"));
        let message = format!(
            "boot failed: the prompt never appeared ('{}', waited {} s){what}{}",
            self.ready_pattern(),
            limit.as_secs(),
            self.last_rows()
        );
        Error::new(Kind::Deadline, message).hint(match blocking {
            None => "is the pattern right, and is --ready-timeout long enough?".to_owned(),
            Some(_) => self.how_to_answer(),
        })
    }

    /// The last lines of the screen, for the end of a message.
    fn last_rows(&self) -> String {
        const LINES: usize = 20;
        // Read some history too: tmux scrolls a dead pane up to print at the bottom that it is dead.
        let screen = self.server.screen(&self.mark.pane, Some(50), Deadline::after(ANSWER));
        let Ok(screen) = screen else { return "; its screen could not be read".to_owned() };
        last_rows(screen.lines().filter(|line| !line.starts_with("Pane is dead")), LINES)
    }
}
