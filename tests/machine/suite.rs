//! Definition of a test: a name, a body that runs inside or outside the machine, a deadline.

use crate::machine::Machine;
use std::time::Duration;

/// The Debian releases whose systemd and tmux are tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Debian {
    Bookworm,
    Trixie,
}

impl Debian {
    pub(crate) const ALL: [Self; 2] = [Self::Bookworm, Self::Trixie];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|debian| debian.name() == name)
    }
}

/// The lists of tests; each run uses one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    /// The tests that `cargo test` runs, in systemd-nspawn containers.
    Usual,
    /// The long form of the fault tests, in containers too.
    Faults,
    /// The tests that need a virtual machine.
    Virtual,
    /// The tests that need real coding agents, in containers too.
    Agents,
}

impl List {
    pub(crate) const ALL: [Self; 4] = [Self::Usual, Self::Faults, Self::Virtual, Self::Agents];

    /// The list that this argument selects. Without such an argument the list is `Usual`.
    pub(crate) fn named(argument: &str) -> Option<Self> {
        match argument {
            "--faults" => Some(Self::Faults),
            "--vm" => Some(Self::Virtual),
            "--agents" => Some(Self::Agents),
            _ => None,
        }
    }
}

/// Where a test runs.
#[derive(Clone, Copy)]
pub(crate) enum Body {
    /// In the machine, as the user, in a process of its own.
    Inside(fn()),
    /// On the host, against a booted machine.
    Outside(fn(&mut Machine)),
}

#[derive(Clone, Copy)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) body: Body,
    pub(crate) limit: Duration,
    only: Option<Debian>,
}

impl Test {
    pub(crate) fn new(name: &'static str, body: Body) -> Self {
        Self { name, body, limit: Duration::from_secs(120), only: None }
    }

    /// Sets the test's deadline; the default is 120 s.
    pub(crate) fn limit_s(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Restricts the test to one release.
    pub(crate) fn only(mut self, debian: Debian) -> Self {
        self.only = Some(debian);
        self
    }

    pub(crate) fn runs_on(&self, debian: Debian) -> bool {
        self.only.is_none_or(|only| only == debian)
    }
}

/// `inside!(name)`: the function `name` is a test that runs in the machine.
macro_rules! inside {
    ($name:ident) => {
        $crate::suite::Test::new(stringify!($name), $crate::suite::Body::Inside($name))
    };
}

/// `outside!(name)`: the function `name` is a test that runs on the host.
macro_rules! outside {
    ($name:ident) => {
        $crate::suite::Test::new(stringify!($name), $crate::suite::Body::Outside($name))
    };
}

pub(crate) use {inside, outside};

/// The tests that share one machine, one after another.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) tests: Vec<Test>,
    /// Debian packages that its container needs in addition, each preceded by a comma.
    pub(crate) packages: &'static str,
}

/// A group without additional packages.
pub(crate) fn group(name: &'static str, tests: Vec<Test>) -> Group {
    Group { name, tests, packages: "" }
}

/// The groups of a list. Inside and outside groups of the same name share a machine.
pub(crate) fn groups(list: List) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let listed: Vec<Group> = match list {
        List::Usual => [crate::inside::groups(), crate::faults::groups(), crate::outside::groups()]
            .into_iter()
            .flatten()
            .collect(),
        List::Faults => crate::faults::long_groups(),
        List::Virtual => crate::vm::groups(),
        List::Agents => crate::agents::groups(),
    };
    for listed in listed {
        match groups.iter_mut().find(|group| group.name == listed.name) {
            Some(group) => group.tests.extend(listed.tests),
            None => groups.push(listed),
        }
    }
    groups
}
