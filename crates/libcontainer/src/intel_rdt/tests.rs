//! On a directory that looks like resctrl: the kernel's part, the files of a new group, is the test's.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::*;

/// `/sys/fs/resctrl` of a machine with L3 and MB, and a class `there`.
struct Fake(tempfile::TempDir);

impl Fake {
    fn new() -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        for directory in ["info/L3", "info/MB", "info/L3_MON", "mon_groups", "there/mon_groups"] {
            fs::create_dir_all(fake.path(directory)).unwrap();
        }
        for (file, text) in [
            ("schemata", "    MB:0=100;1=100\n    L3:0=fff;1=fff\n"),
            ("tasks", ""),
            ("there/schemata", "    MB:0= 30;1=100\n    L3:0=0f0;1=fff\n"),
            ("there/tasks", ""),
            ("info/L3/cbm_mask", "fff\n"),
            ("info/L3/min_cbm_bits", "2\n"),
            ("info/L3/num_closids", "16\n"),
            ("info/MB/bandwidth_gran", "10\n"),
            ("info/MB/min_bandwidth", "10\n"),
            ("info/last_cmd_status", "ok\n"),
            ("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\n"),
        ] {
            fs::write(fake.path(file), text).unwrap();
        }
        fake
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn read(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap()
    }

    fn root(&self) -> OwnedFd {
        rustix::fs::open(self.0.path(), OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    fn look<'a>(&self, plan: &'a RdtPlan) -> Result<Asked<'a>, Error> {
        Asked::look(plan, self.root())
    }

    /// What the kernel does when a group is made.
    fn fill(&self, group: &str) {
        for file in ["schemata", "tasks"] {
            fs::write(self.path(group).join(file), "").unwrap();
        }
    }
}

fn plan(group: &str, is_named: bool, lines: &[(&str, &str)]) -> RdtPlan {
    let lines = lines.iter().map(|(property, line)| ((*property).into(), (*line).into()));
    RdtPlan { group: group.into(), is_named, lines: lines.collect(), monitor: None }
}

fn refusal(result: Result<Asked<'_>, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn class_of_the_containers_own_is_made_recorded_and_removed() {
    let fake = Fake::new();
    let plan = RdtPlan { monitor: Some("c1".into()), ..plan("c1", false, &[]) };
    let rdt = Rdt(Some(fake.look(&plan).unwrap()));
    assert!(!fake.path("c1").exists(), "looking changes nothing");
    let record = rdt.record().unwrap();
    assert_eq!(record.made, ["c1", "c1/mon_groups/c1"]);
    assert_eq!(rdt.intent().unwrap(), record);
    // The kernel makes this with the class.
    fs::create_dir_all(fake.path("c1/mon_groups")).unwrap();
    let again = fake.look(&plan).unwrap();
    assert_eq!(again.record(true).made, ["c1/mon_groups/c1"], "what is there is not ours");
    again.make().unwrap();
    fake.fill("c1");
    fake.fill("c1/mon_groups/c1");
    assign(again.root.as_fd(), &record, 4711).unwrap();
    assert_eq!((&*fake.read("c1/tasks"), &*fake.read("c1/mon_groups/c1/tasks")), ("4711", "4711"));
    assert_eq!(fake.read("c1/schemata"), "", "MUST NOT be written");
}

#[test]
fn class_that_is_made_and_fails_is_taken_away() {
    let fake = Fake::new();
    let plan = plan("new", true, &[("l3CacheSchema", "L3:0=f")]);
    let asked = fake.look(&plan).unwrap();
    assert_eq!(asked.record(true).made, ["new"]);
    // A directory without the kernel's files: the schema cannot be written.
    fs::write(fake.path("info/last_cmd_status"), "no more room\n").unwrap();
    let error = asked.make().unwrap_err().to_string();
    assert!(error.starts_with("/linux/intelRdt/l3CacheSchema: write \"L3:0=f\\n\""), "{error}");
    assert!(error.ends_with("(os error 2): no more room"), "{error}");
    assert!(fake.path("new").exists());
    let rdt = Rdt(Some(asked));
    assert_eq!(rdt.record().unwrap().made, [""; 0], "a class with a name stays after delete");
    rdt.unmake();
    assert!(!fake.path("new").exists());
    assert!(fake.path("there").exists());
}

#[test]
fn class_that_is_there_gets_what_is_asked_for_and_stays() {
    let fake = Fake::new();
    let lines = [
        ("l3CacheSchema", "L3:0=f0"),
        ("memBwSchema", "MB:0=25"),
        ("schemata/0", "L3:1=ff"),
        ("schemata/1", "MB:1=50"),
    ];
    let plan = plan("there", true, &lines);
    let asked = fake.look(&plan).unwrap();
    fs::write(fake.path("there/schemata"), "").unwrap();
    asked.make().unwrap();
    // Two writes, of which a file keeps the last; the kernel takes both.
    assert_eq!(fake.read("there/schemata"), "L3:1=ff\nMB:1=50\n");
    assert_eq!(asked.record(true).made, [""; 0]);
    let rdt = Rdt(Some(asked));
    rdt.unmake();
    assert!(fake.path("there").exists());
}

#[test]
fn class_that_says_something_else_is_refused_with_both() {
    let fake = Fake::new();
    for (property, line) in [("l3CacheSchema", "L3:0=f"), ("memBwSchema", "MB:0=31")] {
        let error = refusal(fake.look(&plan("there", true, &[(property, line)])));
        assert!(error.starts_with(&format!("/linux/intelRdt/{property}: the class")), "{error}");
        assert!(
            error.contains(line) && error.contains("0=0f0") != error.contains("0= 30"),
            "{error}"
        );
    }
}

#[test]
fn class_that_is_missing_and_has_no_schema_is_refused() {
    let fake = Fake::new();
    let error = refusal(fake.look(&plan("nosuch", true, &[])));
    assert!(
        error.starts_with("/linux/intelRdt/closID: without a schema it must be there"),
        "{error}"
    );
    assert!(fake.look(&plan("there", true, &[])).is_ok());
    assert!(fake.look(&plan("", true, &[])).is_ok(), "the root's");
}

#[test]
fn resource_that_the_host_has_not_is_refused() {
    let fake = Fake::new();
    let error = refusal(fake.look(&plan("c1", false, &[("schemata/0", "L2:0=f")])));
    assert!(
        error.starts_with("/linux/intelRdt/schemata/0: resctrl of this host has no resource"),
        "{error}"
    );
}

#[test]
fn monitored_group_of_the_root_class_is_all_that_is_removed() {
    let fake = Fake::new();
    let plan = RdtPlan { monitor: Some("c1".into()), ..plan("", true, &[]) };
    let asked = fake.look(&plan).unwrap();
    assert_eq!(asked.record(false).made, ["mon_groups/c1"]);
    asked.make().unwrap();
    assert!(fake.path("mon_groups/c1").is_dir());
    let error = fake.look(&plan).unwrap().make().unwrap_err().to_string();
    assert!(error.starts_with("/linux/intelRdt/enableMonitoring: make the group"), "{error}");
    remove_group(asked.root.as_fd(), "mon_groups/c1").unwrap();
    remove_group(asked.root.as_fd(), "mon_groups/c1").unwrap();
    assert!(!fake.path("mon_groups/c1").exists());
}

#[test]
fn class_that_is_a_link_is_not_followed() {
    let fake = Fake::new();
    std::os::unix::fs::symlink("/", fake.path("link")).unwrap();
    let error = refusal(fake.look(&plan("link", true, &[("l3CacheSchema", "L3:0=f")])));
    assert!(error.starts_with("/linux/intelRdt/closID: open the class"), "{error}");
}

#[test]
fn stats_are_what_runc_prints() {
    let fake = Fake::new();
    for (domain, count) in [("mon_L3_00", "5\n"), ("mon_L3_01", "Unavailable\n")] {
        let directory = fake.path("there/mon_data").join(domain);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("llc_occupancy"), count).unwrap();
        fs::write(directory.join("mbm_total_bytes"), "7\n").unwrap();
    }
    let record = RdtRecord { group: "there".into(), monitor: None, made: Vec::new() };
    let found = stats::read(fake.root().as_fd(), &record);
    let expected = r#"{"l3_cache_info":{"cbm_mask":"fff","min_cbm_bits":2,"num_closids":16},"l3_cache_schema_root":"L3:0=fff;1=fff","l3_cache_schema":"L3:0=0f0;1=fff","mem_bw_info":{"bandwidth_gran":10,"min_bandwidth":10},"mem_bw_schema_root":"MB:0=100;1=100","mem_bw_schema":"MB:0= 30;1=100","schemata":["MB:0= 30;1=100","L3:0=0f0;1=fff"],"mbm_stats":[{"mbm_total_bytes":7,"mbm_local_bytes":0},{"mbm_total_bytes":7,"mbm_local_bytes":0}],"cmt_stats":[{"llc_occupancy":5},{"llc_occupancy":0}]}"#;
    let expected: serde_json::Map<_, _> = serde_json::from_str(expected).unwrap();
    assert_eq!(found, expected);
}

#[test]
fn host_without_resctrl_refuses_and_has_nothing_to_remove() {
    if open_root().unwrap().is_some() {
        return;
    }
    let plan = plan("c1", false, &[]);
    let error = Rdt::look(Some(&plan)).unwrap_err().to_string();
    assert!(error.starts_with("/linux/intelRdt: no resctrl file system is mounted"), "{error}");
    let record = RdtRecord { group: "c1".into(), monitor: None, made: vec!["c1".into()] };
    remove(&record).unwrap();
    enter(&record, 1).unwrap();
    assert_eq!(super::stats(&record), Map::new());
}
