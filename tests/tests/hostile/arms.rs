//! The hostile containers: each does one kind of harm, as `fixtures/hostile/arms.py` does it.

use std::time::Duration;

use anyhow::Result;
use tlstap_tests::{
    docker::{Container, Docker},
    tool,
};

/// Until all of it was done once, on a busy machine: 10,000 mounts, bodies that take minutes to pack.
const LIMIT: Duration = Duration::from_secs(300);

/// What a container needs for what it does, beside what every container has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// May mount.
    Mounts,
    /// Is started a second time, with what it has laid out.
    Layout,
}

/// All of them.
const ARMS: [(&str, Needs); 26] = [
    ("sections", Needs::Nothing),
    ("symbols", Needs::Nothing),
    ("notes", Needs::Nothing),
    ("marks", Needs::Nothing),
    ("packed", Needs::Nothing),
    ("sparse", Needs::Nothing),
    ("go", Needs::Nothing),
    ("links", Needs::Layout),
    ("fifo", Needs::Layout),
    ("device", Needs::Layout),
    ("sockets", Needs::Layout),
    ("directory", Needs::Layout),
    ("replaced", Needs::Nothing),
    ("rewritten", Needs::Nothing),
    ("overlay", Needs::Mounts),
    ("mount_names", Needs::Mounts),
    ("many_mounts", Needs::Mounts),
    ("many_mappings", Needs::Nothing),
    ("process_names", Needs::Nothing),
    ("path_names", Needs::Nothing),
    ("group_names", Needs::Mounts),
    ("http_text", Needs::Nothing),
    ("sql_text", Needs::Nothing),
    ("http2", Needs::Nothing),
    ("websocket", Needs::Nothing),
    ("bodies", Needs::Nothing),
];

/// Those that say something over TLS.
const TALKING: [&str; 8] = [
    "process_names",
    "path_names",
    "group_names",
    "http_text",
    "sql_text",
    "http2",
    "websocket",
    "bodies",
];

/// One of them.
pub(super) struct Arm {
    pub(super) container: Container,
    kind: &'static str,
    needs: Needs,
}

impl Arm {
    pub(super) fn talks(&self) -> bool {
        TALKING.contains(&self.kind)
    }
}

/// Starts all of them; `canaries` is the folder of the host that they are after.
pub(super) fn start(docker: &Docker, canaries: &str) -> Result<Vec<Arm>> {
    let start = |(kind, needs)| {
        let run = docker
            .run(&kind_of_name(kind))?
            .mount(&tool::fixtures().join("hostile"), "/hostile:ro");
        let run = match needs {
            Needs::Mounts => run.options(&["--cap-add", "SYS_ADMIN"]),
            Needs::Nothing | Needs::Layout => run,
        };
        // It would write its compiled modules into the checkout.
        let command = ["python3", "-B", "/hostile/arms.py", kind, canaries];
        Ok(Arm { container: run.start(&command)?, kind, needs })
    };
    ARMS.into_iter().map(start).collect()
}

/// A container's name, as it begins.
fn kind_of_name(kind: &str) -> String {
    format!("hostile-{}", kind.replace('_', "-"))
}

/// Waits until all have done what they do, once.
pub(super) fn wait(arms: &[Arm]) -> Result<()> {
    for Arm { container, needs, .. } in arms {
        if *needs == Needs::Layout {
            container.wait_for_log_within("laid out", LIMIT)?;
            container.restart()?;
        }
    }
    arms.iter().try_for_each(|arm| arm.container.wait_for_log_within("armed", LIMIT))
}

/// The container of a kind.
pub(super) fn named<'a>(arms: &'a [Arm], kind: &str) -> Option<&'a Container> {
    arms.iter().find(|arm| arm.kind == kind).map(|arm| &arm.container)
}
