//! One fault at a time, injected by strace: a system call of forge fails, is interrupted, comes late, or is
//! forge's last.

use crate::ran::Ran;
use crate::support::start;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// The file that strace writes.
const TRACE: &str = "/tmp/calls";

/// The longest of forge's own deadlines that one fault can reach is 30 s.
const LIMIT: Duration = Duration::from_secs(60);

/// The calls that can fail, and their errors. EINTR is listed where the kernel interrupts that call.
const CAN_FAIL: [(&str, &[&str]); 54] = [
    ("accept4", &["EMFILE", "ECONNABORTED", "EINTR"]),
    ("access", &["EACCES"]),
    ("bind", &["EADDRINUSE"]),
    ("brk", &["ENOMEM"]),
    ("clone3", &["EAGAIN"]),
    ("clock_nanosleep", &["EINTR"]),
    ("connect", &["ECONNREFUSED", "ENOENT", "EAGAIN", "EINTR"]),
    ("dup2", &["EBUSY", "EINTR"]),
    ("epoll_create1", &["EMFILE"]),
    ("epoll_ctl", &["ENOMEM"]),
    ("epoll_pwait", &["EINTR"]),
    ("epoll_wait", &["EINTR"]),
    ("execve", &["ENOMEM"]),
    ("faccessat2", &["EACCES"]),
    ("fcntl", &["ENOLCK", "EAGAIN", "EINTR"]),
    ("flock", &["EWOULDBLOCK", "ENOLCK", "EINTR"]),
    ("fstat", &["EIO"]),
    ("fsync", &["EIO", "ENOSPC", "EINTR"]),
    ("getcwd", &["ENOENT"]),
    ("getdents64", &["EIO"]),
    ("getrandom", &["ENOSYS", "EINTR"]),
    ("getsockopt", &["ENOMEM"]),
    ("getxattr", &["EIO", "ENODATA"]),
    ("inotify_add_watch", &["ENOSPC"]),
    ("inotify_init1", &["EMFILE"]),
    ("listen", &["EADDRINUSE"]),
    ("lseek", &["EIO"]),
    ("mkdir", &["ENOSPC", "EACCES"]),
    ("mmap", &["ENOMEM"]),
    ("mprotect", &["ENOMEM"]),
    ("mremap", &["ENOMEM"]),
    ("newfstatat", &["EACCES", "EIO"]),
    ("openat", &["EMFILE", "EACCES", "ENOSPC", "EINTR"]),
    ("pidfd_open", &["EMFILE"]),
    ("pidfd_send_signal", &["EPERM"]),
    ("pipe2", &["EMFILE"]),
    ("poll", &["ENOMEM", "EINTR"]),
    ("prlimit64", &["EPERM"]),
    ("read", &["EIO", "EINTR"]),
    ("readlink", &["EIO"]),
    ("recvfrom", &["ECONNRESET", "EINTR"]),
    ("recvmsg", &["ECONNRESET", "EINTR"]),
    ("rename", &["ENOSPC", "EIO"]),
    ("sendmsg", &["EPIPE", "ENOBUFS", "EAGAIN", "EINTR"]),
    ("sendto", &["ECONNREFUSED", "EAGAIN", "EINTR"]),
    ("setpgid", &["EACCES"]),
    ("setsockopt", &["ENOMEM"]),
    ("setxattr", &["ENOSPC", "EPERM"]),
    ("socket", &["EMFILE"]),
    ("statx", &["EACCES", "EIO"]),
    ("timerfd_create", &["EMFILE"]),
    ("unlink", &["EACCES"]),
    ("unlinkat", &["EACCES"]),
    ("write", &["ENOSPC", "EIO", "EINTR"]),
];

/// Calls that wait or change something and do not fail with valid arguments. (close may return an error, but
/// has closed the descriptor nevertheless.)
const CANNOT_FAIL: [&str; 4] = ["close", "futex", "timerfd_settime", "wait4"];

/// Calls that neither fail nor matter: a fault at the call before or after is equivalent.
const OF_NO_CONSEQUENCE: [&str; 24] = [
    "arch_prctl",
    "exit",
    "exit_group",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "gettid",
    "getuid",
    "ioctl",
    "madvise",
    "munmap",
    "prctl",
    "pread64",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "sigaltstack",
];

/// Without memory or threads, the runtimes below forge (Rust's and zbus's) may abort the process. That is
/// equivalent to a kill.
const MAY_END_IT: [&str; 4] = ["brk", "clone3", "mmap", "mprotect"];

/// The fault of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Error(&'static str),
    Delay,
    Kill,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Error("EINTR") => "interrupted",
            Self::Error(_) => "failed",
            Self::Delay => "delayed",
            Self::Kill => "killed",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(name) => write!(out, "error={name}"),
            // Longer than all of forge's work, so that other processes are faster.
            Self::Delay => out.write_str("delay_enter=30000"),
            Self::Kill => out.write_str("signal=KILL"),
        }
    }
}

/// Faults that once broke something, or are the most likely to: the short form tries all of them.
const NASTY: [(&str, Kind); 5] = [
    ("connect", Kind::Error("ECONNREFUSED")),
    ("flock", Kind::Error("EINTR")),
    ("rename", Kind::Kill),
    ("setxattr", Kind::Error("ENOSPC")),
    ("unlinkat", Kind::Kill),
];

/// One fault, at the `nth` such call: of the main thread only, or of each thread and of each child before its
/// exec.
pub(crate) struct Fault {
    call: String,
    kind: Kind,
    nth: usize,
    everywhere: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.everywhere { "each thread's and child's" } else { "the main thread's" };
        write!(out, "{whose} {} {}: {}", self.call, self.nth, self.kind)
    }
}

/// The result of a fault.
pub(crate) struct Hit {
    pub(crate) ran: Ran,
    pub(crate) took: Duration,
    /// The call as strace prints it; `None` if forge did not reach it.
    pub(crate) reached: Option<String>,
    in_time: bool,
    may_end_it: bool,
}

impl Hit {
    /// A successful run without a fault.
    pub(crate) fn none() -> Self {
        let ran = Ran { argv: String::new(), code: 0, stdout: String::new(), stderr: String::new() };
        Self { ran, took: Duration::ZERO, reached: None, in_time: true, may_end_it: false }
    }

    /// Whether forge was killed and could not report anything.
    pub(crate) fn died(&self) -> bool {
        self.ran.code > 128 || (self.may_end_it && self.ran.code == 101)
    }

    /// Checks that forge ended in time, with a documented status, and reported the reason.
    pub(crate) fn check(&self, fault: &Fault) {
        assert!(self.in_time, "no end after {} s", LIMIT.as_secs());
        if fault.kind == Kind::Kill || (self.may_end_it && self.died()) {
            return;
        }
        assert!(!self.ran.stderr.contains("panicked"), "a panic");
        assert!((0..=5).contains(&self.ran.code), "a status that forge does not document");
        let said = !self.ran.stdout.trim().is_empty() || !self.ran.stderr.trim().is_empty();
        assert!(self.ran.code == 0 || said, "a failure without a message");
    }
}

impl Fault {
    /// Whether the short form has it in any case.
    pub(crate) fn is_nasty(&self) -> bool {
        NASTY.contains(&(self.call.as_str(), self.kind))
    }

    /// The row that counts this fault.
    pub(crate) fn word(&self) -> &'static str {
        self.kind.word()
    }

    /// Runs forge with this fault.
    pub(crate) fn strike(&self, arguments: &[&str]) -> Hit {
        let trace = format!("trace={}", self.call);
        let inject = format!("inject={}:{}:when={}", self.call, self.kind, self.nth);
        let began = Instant::now();
        let (in_time, ran) =
            start(&strace(self.everywhere, &["-e", &trace, "-e", &inject], arguments)).end(LIMIT);
        let seen = std::fs::read_to_string(TRACE).unwrap_or_default();
        let is_it =
            |line: &&str| ["(INJECTED)", "(DELAYED)", "SIGKILL"].iter().any(|mark| line.contains(mark));
        let shown = seen.lines().find(is_it).map(|line| line.chars().take(200).collect());
        let reached = if ran.code == 137 { shown.or_else(|| Some(String::new())) } else { shown };
        let may_end_it = MAY_END_IT.contains(&self.call.as_str());
        Hit { ran, took: began.elapsed(), reached, in_time, may_end_it }
    }
}

fn strace<'a>(everywhere: bool, options: &[&'a str], arguments: &[&'a str]) -> Vec<&'a str> {
    let follow: &[&str] = if everywhere { &["-f", "-b", "execve"] } else { &[] };
    [&["strace", "-qqq", "-o", TRACE], follow, options, &["forge"], arguments].concat()
}

/// How often each call is made.
#[derive(Default)]
struct Count {
    /// By the dynamic loader: a fault there only prevents the execution of forge.
    loading: usize,
    /// By the main thread, the loader's included.
    main: usize,
    /// The maximum over the other threads, and over the children before their exec.
    others: usize,
}

/// Runs forge without a fault; returns all faults that such a run can have.
pub(crate) fn faults_of(arguments: &[&str]) -> Vec<Fault> {
    start(&strace(true, &[], arguments)).wait(LIMIT).ok();
    let seen = std::fs::read_to_string(TRACE).expect("what strace saw");
    let mut faults = Vec::new();
    for (call, count) in counted(&seen) {
        let errors = CAN_FAIL.iter().find(|(name, _)| *name == call).map(|(_, errors)| *errors);
        let known = errors.is_some() || CANNOT_FAIL.contains(&call.as_str());
        assert!(known || OF_NO_CONSEQUENCE.contains(&call.as_str()), "how can {call} fail?");
        if !known {
            continue;
        }
        let errors = errors.unwrap_or_default().iter().map(|name| Kind::Error(name));
        for kind in errors.chain([Kind::Delay, Kind::Kill]) {
            for nth in count.loading + 1..=count.main.max(count.others) {
                let one = |everywhere| Fault { call: call.clone(), kind, nth, everywhere };
                faults.extend((nth <= count.main).then(|| one(false)));
                faults.extend((nth <= count.others).then(|| one(true)));
            }
        }
    }
    faults
}

/// The calls in the output of `strace -f`.
fn counted(seen: &str) -> BTreeMap<String, Count> {
    let calls = || {
        seen.lines().filter_map(|line| {
            let (pid, rest) = line.split_once(' ')?;
            let (call, _) = rest.trim_start().split_once('(')?;
            // Skips second halves of calls, and signals.
            call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some((pid, call))
        })
    };
    let main = calls().next().expect("a call").0;
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let mut others: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    // Rust's runtime first polls the three standard descriptors.
    let mut loading = true;
    for (pid, call) in calls() {
        loading &= call != "poll";
        let count = counts.entry(call.to_owned()).or_default();
        if pid == main {
            count.main += 1;
            count.loading += usize::from(loading);
        } else {
            let other = others.entry((pid, call)).or_default();
            *other += 1;
            count.others = count.others.max(*other);
        }
    }
    assert!(!loading, "Rust's runtime does not begin with a poll any more");
    counts
}
