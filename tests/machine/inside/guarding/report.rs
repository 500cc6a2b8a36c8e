//! The contents of the report.

use super::{Production, report};
use crate::suite::{Test, inside};
use crate::support::{events_since, forge, journal_cursor, shell, spawn};

pub(crate) fn tests() -> Vec<Test> {
    vec![inside!(the_report_names_what_is_known)]
}

fn the_report_names_what_is_known() {
    let web = Production::lasting("web");
    let (_session, _) = spawn("ran-too", &[], &["sleep", "1000"]);
    let burn = "x=0; while [ $x -lt 30000 ]; do x=$((x+1)); done; systemctl --user restart web; sleep 0.6";
    let report = report(&web, burn);
    let keys: Vec<&str> = report.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "began",
            "cause",
            "cleared",
            "cpu_usec",
            "deny_listen",
            "elapsed_ms",
            "exit_status",
            "frozen_ms",
            "frozen_times",
            "guard",
            "memory_peak",
            "oom_kills",
            "pressure",
            "program",
            "sessions",
            "signal",
            "status",
            "timeline",
            "units",
            "untold",
            "verdict"
        ]
    );
    assert_eq!(report["sessions"], serde_json::json!(["ran-too"]));
    assert_eq!(report["cause"]["likely"], "the guarded command itself");
    assert!(report["cpu_usec"].as_u64() > Some(1000), "{report}");
    for whose in ["host", "units", "command"] {
        assert!(report["pressure"][whose]["cpu"].is_u64(), "{whose}: {report}");
    }
    let rows = report["timeline"].as_array().expect("rows");
    let times: Vec<u64> = rows.iter().filter_map(|row| row["ms"].as_u64()).collect();
    assert!(times.is_sorted() && times.len() == rows.len(), "{report}");
    assert_eq!((&rows[0]["event"], &rows.last().expect("rows")["event"]), (&"began".into(), &"ended".into()));
    let journal = report["units"][0]["journal"].to_string();
    assert!(journal.contains("Stopped") && journal.contains("Started"), "{journal}");
    // Without evidence, the report does not name a cause.
    let line = "sh -c 'sleep 0.5; kill -9 '$(systemctl --user show -P MainPID web)' ' & exec forge guard run --unit web -- sleep 2";
    let ran = shell(line).code(100);
    let likely =
        ran.stderr.lines().find(|line| line.starts_with("likely cause:")).expect("a cause").to_owned();
    assert!(likely.contains("not known"), "{ran}");
    assert!(ran.stderr.contains("sessions that ran: ran-too"), "{ran}");
    for part in ["after", "what happened", "unit", "before", "journal of web.service:", "highest pressure"] {
        assert!(ran.stderr.contains(part), "{part}: {ran}");
    }
    // Arguments may hold secrets: neither the report nor the journal contains them.
    let cursor = journal_cursor();
    let secret = forge(&["guard", "run", "--unit", "web", "--", "sh", "-c", "true s3cr3t; exit 1"]).code(1);
    assert!(!secret.stderr.contains("s3cr3t"));
    assert!(!events_since(&cursor).iter().any(|event| event["MESSAGE"].to_string().contains("s3cr3t")));
}
