//! Guarded commands that exceed their limits, beside a unit that must not be affected.

use crate::inside::guarding::pressure::pressure_freezes_and_thaws;
use crate::inside::guarding::{Production, pid_of};
use crate::suite::{Test, inside};
use crate::support::{
    cgroup_file, event_since, journal_cursor, keyed, run_within, signal, start, user_unit_property,
    wait_until,
};
use std::time::Duration;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        inside!(a_guarded_loop_gets_its_small_share),
        inside!(a_guarded_memory_hog_is_stopped_at_its_limit),
        inside!(the_limit_of_guarded_tasks_holds),
        inside!(pressure_freezes_and_thaws),
    ]
}

/// One loop per processor: without limits the command would use them all.
const LOOPS: &str = "while :; do :; done & while :; do :; done";

fn a_guarded_loop_gets_its_small_share() {
    let busy = Production::start("busy", &format!("ExecStart=/bin/sh -c '{LOOPS}'"));
    let cursor = journal_cursor();
    let running = start(&["forge", "guard", "run", "--unit", &busy.unit, "--", "sh", "-c", LOOPS]);
    let id = event_since(&cursor, "guard_started")["FORGE_GUARD"].as_str().expect("an id").to_owned();
    let groups = [busy.unit.clone(), format!("forge-guard-{id}.scope")]
        .map(|unit| user_unit_property(&unit, "ControlGroup"));
    let used = || groups.clone().map(|group| keyed(&cgroup_file(&group, "cpu.stat"), "usage_usec"));
    let before = used();
    std::thread::sleep(Duration::from_secs(20));
    let after = used();
    let [production, guarded] = [after[0] - before[0], after[1] - before[1]];
    // 100 to 20 are the weights of app.slice and forge.slice.
    assert!(production > 3 * guarded && guarded > 0, "production {production} us, guarded {guarded} us");
    signal("TERM", pid_of(&id));
    running.wait(Duration::from_secs(120)).code(143);
}

fn a_guarded_memory_hog_is_stopped_at_its_limit() {
    let web = Production::lasting("web");
    let pid = web.pid();
    let hog = "x = []\nwhile True: x.append(bytearray(1 << 20))";
    let argv = [
        "forge",
        "--json",
        "guard",
        "run",
        "--unit",
        &web.unit,
        "--memory-max",
        "64M",
        "--",
        "python3",
        "-c",
        hog,
    ];
    let ran = run_within(Duration::from_secs(240), &argv).code(137);
    let report = ran.json();
    assert_eq!((&report["verdict"], &report["signal"]), (&"undisturbed".into(), &9.into()), "{report}");
    assert_eq!(report["oom_kills"], 1, "{report}");
    assert_eq!(web.pid(), pid);
    // The kernel kills one of several processes: the others continue.
    let line = format!("python3 -c '{hog}'; echo it ended with $?");
    let argv = ["forge", "guard", "run", "--unit", &web.unit, "--memory-max", "64M", "--", "sh", "-c", &line];
    let ran = run_within(Duration::from_secs(240), &argv).code(0);
    assert_eq!(ran.stdout, "it ended with 137\n", "{ran}");
    assert!(ran.stderr.contains("killed 1 of its processes because memory ran out"), "{ran}");
    assert_eq!(web.pid(), pid);
}

fn the_limit_of_guarded_tasks_holds() {
    let web = Production::lasting("web");
    let pid = web.pid();
    let line = "(for n in $(seq 40); do sleep 1000 & done); echo that was all";
    let argv = ["forge", "guard", "run", "--unit", &web.unit, "--tasks-max", "20", "--", "sh", "-c", line];
    let ran = run_within(Duration::from_secs(240), &argv);
    assert!(ran.stderr.contains("Cannot fork") && ran.stdout.contains("that was all"), "{ran}");
    assert_eq!(web.pid(), pid);
    wait_until(Duration::from_secs(60), "the scope to go", || {
        crate::support::run(&["pgrep", "-c", "-f", "^sleep 1000"]).stdout.trim() == "0"
    });
}
