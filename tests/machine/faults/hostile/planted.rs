//! Files that another user has planted before a sweep.

use super::{Live, Precious, SHARED, SWEEP, dead_sockets, names, share};
use crate::machine::Machine;
use crate::ran;
use crate::suite::{Test, outside};
use std::time::{Duration, Instant};

pub(super) fn tests() -> Vec<Test> {
    vec![
        outside!(a_directory_of_somebody_else),
        outside!(planted_files_are_left).limit_s(240),
        outside!(sessions_from_before_a_power_cut_are_not_running),
    ]
}

fn a_directory_of_somebody_else(machine: &mut Machine) {
    machine.as_user("mallory", &["mkdir", "/tmp/tmux-1000"]).ok();
    machine.as_user("mallory", &["chmod", "777", "/tmp/tmux-1000"]).ok();
    machine
        .as_user(
            "mallory",
            &["python3", "-c", "import socket; socket.socket(socket.AF_UNIX).bind('/tmp/tmux-1000/bait')"],
        )
        .ok();
    let refused = machine.user(&["forge", "--json", "spawn", "x", "--", "sleep", "9"]);
    assert_eq!((refused.code, &refused.json()["error"]["kind"]), (1, &"unsafe".into()), "{refused}");
    assert!(refused.stderr.contains("belongs to uid 1001, not to you (1000)"), "{refused}");
    let swept = machine.user(&["forge", "--json", "sweep"]).ok().json();
    assert!(swept["skipped"][0]["reason"].as_str().expect("a reason").contains("uid 1001"), "{swept}");
    assert!(machine.path("/tmp/tmux-1000/bait").symlink_metadata().is_ok());
    machine.root(&["rm", "-r", "/tmp/tmux-1000"]).ok();
    machine.user(&["forge", "spawn", "x", "--", "sleep", "9"]).ok();
    machine.user(&["forge", "stop", "x"]).ok();
}

/// mallory's files, named by their kind. Names that begin with `ada-` are dead sockets of ada's with a lock
/// of mallory's.
const PLANTS: &str = r#"
use Socket; use Fcntl qw(:DEFAULT :flock);
chdir shift or die;
sub bound { socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; bind($s, pack_sockaddr_un($_[0])) or die "$_[0]: $!"; $s }
bound('dead-of-mallory');
my $silent = bound('silent-of-mallory'); listen($silent, 5);
symlink('/tmp/tmux-1000/homebase', 'link-to-homebase');
symlink('/home/ada/precious/listener', 'link-to-listener');
symlink('/home/ada/precious/dead-0', 'link-to-dead');
symlink('/home/ada/precious', 'link-to-folder');
symlink('nowhere', 'link-to-nothing');
symlink('/dev/tty', 'link-to-tty');
mkdir 'folder'; chmod 0777, 'folder';
system('mkfifo', 'fifo');
for my $odd ("line\nbreak", "escape\e[31mred\e]0;title\a", "\xff\xfe no text", "n" x 255, "-rf", " ", "c1 \xc2\x9b31m") {
    sysopen(my $f, $odd, O_CREAT|O_WRONLY) or die; bound("s$odd") if length($odd) < 100;
}
print link('/tmp/tmux-1000/homebase', 'hard-link') ? "hard links: made\n" : "hard links: $!\n";
symlink('/home/ada/made-by-a-lock', 'ada-link.lock');
symlink('/home/ada/precious/locked.lock', 'ada-linked-file.lock');
mkdir 'ada-folder.lock';
system('mkfifo', 'ada-fifo.lock');
my @held;
for my $name ('ada-held', 'spawn-ada-held') {
    sysopen(my $lock, "$name.lock", O_CREAT|O_RDWR) or die; chmod 0666, "$name.lock";
    flock($lock, LOCK_EX) or die; push @held, $lock;
}
sysopen(my $own, 'ada-unreadable.lock', O_CREAT|O_RDWR, 0600) or die;
for my $n (1 .. 10000) { symlink('/home/ada/precious/dead-1', "many-$n") }
$| = 1; print "planted\n"; sleep 10000;
"#;

fn planted_files_are_left(machine: &mut Machine) {
    let (live, precious) = (Live::start(machine), Precious::new(machine));
    share(machine);
    let locked =
        ["held", "link", "linked-file", "folder", "fifo", "unreadable"].map(|name| format!("ada-{name}"));
    let mut dead: Vec<&str> = locked.iter().map(String::as_str).collect();
    dead.extend(["spawn-ada-held", "dead-1", "spawn-dead", "ada-\u{1b}[31m\n"]);
    dead_sockets(machine, SHARED, &dead);
    let plants = machine.command("mallory", &["perl", "-e", PLANTS, SHARED]);
    let mallory = ran::start(plants, "mallory's zoo");
    let planted = || machine.path(SHARED).join("many-10000").symlink_metadata().is_ok();
    crate::support::wait_until(Duration::from_secs(30), "the zoo", planted);
    let listing =
        || machine.root(&["ls", "-lia", "--time-style=full-iso", SHARED]).ok().stdout.lines().count();
    let before = listing();

    let begin = Instant::now();
    let dry = machine.user(&["forge", "sweep", "--dry-run", "--dir", SHARED]).ok();
    let report = machine.user(&["forge", "--json", "sweep", "--dir", SHARED]).ok().json();
    let elapsed_ms = report["elapsed_ms"].as_u64().expect("a time");
    assert!(elapsed_ms < SWEEP, "{elapsed_ms} ms");
    assert_eq!(names(&report, "removed"), ["ada-\u{1b}[31m\n", "dead-1", "spawn-dead"]);
    for key in ["live", "unresponsive", "protected"] {
        assert!(names(&report, key).is_empty(), "{key}: forge asks no server of mallory's");
    }
    // Only dead sockets changed, except for one removed lock and two new locks.
    assert_eq!(listing(), before - 3 + 2, "all that is planted is there");
    let skipped = names(&report, "skipped");
    assert!(locked.iter().all(|name| skipped.contains(&name.as_str())), "{skipped:?}");
    assert!(
        machine.path("/home/ada/made-by-a-lock").symlink_metadata().is_err(),
        "a lock's link was followed"
    );
    println!(
        "10,000 entries and more: {elapsed_ms} ms to sweep, all of it {} ms",
        begin.elapsed().as_millis()
    );

    // The output contains no line made by mallory, and no terminal control sequence.
    let whole = machine.user(&["forge", "sweep", "--dir", SHARED]).ok();
    let config =
        format!("mkdir -p .config/forge && echo \"[sweep]\ndirs = ['{SHARED}']\" >.config/forge/forge.toml");
    machine.user(&["sh", "-c", &config]).ok();
    let probe = machine.user(&["forge", "probe"]);
    for ran in [&dry, &whole, &probe] {
        let text = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "raw: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("break")), "a line of mallory's: {text}");
    }
    assert!(
        whole.stdout.contains("left /tmp/shared/tmux-1000/line\\nbreak: it belongs to uid 1001"),
        "{whole}"
    );
    let journal =
        machine.root(&["journalctl", "-t", "forge", "-o", "cat", "--all", "--no-pager"]).ok().stdout;
    assert!(journal.contains("ada-\\u{1b}[31m\\n") && !journal.contains('\u{1b}'), "{journal:?}");

    // A spawn meets its deadlines when a lock of its socket is held for ever.
    let begin = Instant::now();
    let held = ["env", "TMUX_TMPDIR=/tmp/shared", "forge", "--json", "spawn", "ada-held", "--", "sleep", "9"];
    let refused = machine.user(&held).code(4);
    assert!(begin.elapsed() < Duration::from_secs(55), "{refused}");
    let list = machine.user(&["forge", "--json", "list"]).ok().json();
    assert_eq!(list["sessions"].as_array().map(Vec::len), Some(1), "nothing is left of it: {list}");
    println!("mallory says: {}", mallory.end(Duration::ZERO).1.stdout.trim());
    machine.user(&["rm", ".config/forge/forge.toml"]).ok();
    live.survive(machine);
    precious.untouched(machine);
}

fn sessions_from_before_a_power_cut_are_not_running(machine: &mut Machine) {
    machine.user(&["forge", "spawn", "before", "--", "sleep", "1000"]).ok();
    machine.power_cut();
    let list = machine.user(&["forge", "--json", "list"]).ok().json();
    assert_eq!(list["sessions"], serde_json::json!([]), "what was running is not taken for running");
    let (begin, limit) = (Instant::now(), Duration::from_secs(20));
    machine.user(&["forge", "spawn", "before", "--", "sleep", "1000"]).ok();
    assert!(begin.elapsed() < limit);
    machine.user(&["forge", "stop", "before"]).ok();
}
