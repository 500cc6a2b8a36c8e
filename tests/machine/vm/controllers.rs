//! Properties of a virtual machine that the other tests rely on.

use crate::suite::{Test, inside};
use crate::support::{cgroup_file, configured, forge, slice_of, spawn};

pub(crate) fn tests() -> Vec<Test> {
    vec![inside!(the_user_manager_has_all_controllers), inside!(an_io_weight_is_set)]
}

fn the_user_manager_has_all_controllers() {
    let controllers = cgroup_file("/user.slice/user-1000.slice/user@1000.service", "cgroup.controllers");
    for controller in ["cpu", "io", "memory", "pids"] {
        assert!(
            controllers.split_whitespace().any(|one| one == controller),
            "no {controller}: {controllers}"
        );
    }
}

fn an_io_weight_is_set() {
    let _configuration = configured("[limits]\nio_weight = 10\n");
    let (_session, _) = spawn("reader", &[], &["sleep", "1000"]);
    assert_eq!(cgroup_file(&slice_of("reader"), "io.weight").trim(), "default 10");
    let doctor = forge(&["doctor"]);
    assert!(!doctor.stdout.contains("have no effect"), "{doctor}");
}
