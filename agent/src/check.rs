//! `tlstap check`: what works on this node, what degrades, and what the user can do.

use std::{
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Result, bail};

use crate::{
    attach::{Guard, KernelHalf, Links, Options, ReturnProbes, Sockets},
    discover::{self, Watcher},
    emit,
    pipeline::report,
    privilege,
};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Works,
    Degrades,
    Fails,
}

/// One line of the report.
struct Line {
    verdict: Verdict,
    what: &'static str,
    detail: String,
}

/// Prints the report; an error when nothing can be traced here.
pub async fn check(proc: &Path, returns: ReturnProbes) -> Result<()> {
    let [program, links, seccomp] = programs(returns);
    let lines = [
        kernel(),
        privileges(),
        lockdown(proc),
        btf(),
        program,
        links,
        seccomp,
        side_band(),
        host_root(proc),
        runtimes(proc),
    ];
    let mut text = String::new();
    for Line { verdict, what, detail } in &lines {
        let word = match verdict {
            Verdict::Works => "ok",
            Verdict::Degrades => "degraded",
            Verdict::Fails => "FAILS",
        };
        text.push_str(&format!("{word:<9} {what:<22} {detail}\n"));
    }
    emit::ignore_closed(io::stdout().write_all(text.as_bytes()))?;
    if lines.iter().any(|line| line.verdict == Verdict::Fails) {
        bail!("tracing does not work here; see the lines marked FAILS");
    }
    Ok(())
}

fn kernel() -> Line {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    Line { verdict: Verdict::Works, what: "kernel", detail: release }
}

fn privileges() -> Line {
    let missing = privilege::missing();
    let what = "capabilities";
    if missing.is_empty() {
        return Line { verdict: Verdict::Works, what, detail: "all there".to_owned() };
    }
    let names: Vec<_> =
        missing.iter().map(|cap| format!("{} (for {})", cap.name, cap.purpose)).collect();
    let detail = format!("missing {}; run as root or grant them", names.join(", "));
    Line { verdict: Verdict::Fails, what, detail }
}

fn lockdown(proc: &Path) -> Line {
    let what = "lockdown";
    match privilege::lockdown(proc) {
        Some(mode) if mode == "confidentiality" => Line {
            verdict: Verdict::Fails,
            what,
            detail: "confidentiality: BPF may not read memory; boot with lockdown=integrity".into(),
        },
        Some(mode) => Line { verdict: Verdict::Works, what, detail: mode },
        None => Line { verdict: Verdict::Works, what, detail: "not visible".into() },
    }
}

fn btf() -> Line {
    let what = "BTF";
    let path = "/sys/kernel/btf/vmlinux";
    if Path::new(path).exists() {
        return Line { verdict: Verdict::Works, what, detail: path.into() };
    }
    let detail = format!("{path} is missing; tracing works without it");
    Line { verdict: Verdict::Degrades, what, detail }
}

fn programs(returns: ReturnProbes) -> [Line; 3] {
    let what = "BPF programs";
    let options = Options {
        ring_bytes: 64 << 10,
        max_call_bytes: 4096,
        max_rate: None,
        sockets: Sockets::Tracepoints,
        links: Links::Session,
        returns,
        filtered: false,
        logging: false,
    };
    match KernelHalf::load(&options) {
        Ok(kernel) => [
            Line { verdict: Verdict::Works, what, detail: "load and attach".into() },
            links(kernel.programs.links()),
            seccomp(kernel.programs.guard()),
        ],
        Err(error) => [
            Line { verdict: Verdict::Fails, what, detail: report(&error) },
            Line { verdict: Verdict::Fails, what: PROBES, detail: "no programs".into() },
            Line { verdict: Verdict::Fails, what: SECCOMP, detail: "no programs".into() },
        ],
    }
}

const PROBES: &str = "probes";

fn links(links: Links) -> Line {
    const TWO_HITS: &str = "a call of a process that is filtered out costs two hits";
    let (verdict, lacks) = match links {
        Links::Session => (Verdict::Works, String::new()),
        Links::Multi => (Verdict::Degrades, format!(": {TWO_HITS}")),
        Links::Perf if !privilege::may_use_perf_probes() => {
            let needs = "CAP_SYS_ADMIN is missing, which they need since Linux 6.16 and in the \
                         stable kernels since July 2025";
            (Verdict::Degrades, format!(": {needs}; {TWO_HITS}"))
        }
        Links::Perf => {
            (Verdict::Degrades, format!(": {TWO_HITS}, and detaching takes 0.1 s a probe"))
        }
    };
    Line { verdict, what: PROBES, detail: format!("{}{lacks}", links.as_str()) }
}

const SECCOMP: &str = "return probes";

/// What this kernel does to processes under a seccomp filter that are probed.
fn seccomp(Guard { returns, replaced }: &Guard) -> Line {
    let what = SECCOMP;
    if returns.is_unsafe() {
        let detail = format!(
            "{returns}: only Go is probed; use Linux 6.12.14, 6.13.3, \
             6.14 or newer"
        );
        return Line { verdict: Verdict::Degrades, what, detail };
    }
    if replaced.is_unsafe() {
        let detail = format!("{returns}; but not probes on a nop of 5 bytes: nothing is put there");
        return Line { verdict: Verdict::Degrades, what, detail };
    }
    Line { verdict: Verdict::Works, what, detail: returns.to_string() }
}

fn side_band() -> Line {
    let what = "process events";
    match Watcher::start() {
        Ok(watcher) => {
            let detail = format!("perf side-band records on {} cpus", watcher.cpus());
            Line { verdict: Verdict::Works, what, detail }
        }
        Err(error) => {
            let detail = format!("{}; /proc is read each second instead", report(&error));
            Line { verdict: Verdict::Degrades, what, detail }
        }
    }
}

fn host_root(proc: &Path) -> Line {
    let what = "overlay layers";
    let host = discover::host(proc);
    if host != proc.join("self") {
        let detail = format!("seen through {}", host.join("root").display());
        return Line { verdict: Verdict::Works, what, detail };
    }
    let detail = "the node's root cannot be seen, the agent's own is used instead; in a container \
                  the agent needs the host's pid namespace and CAP_SYS_PTRACE";
    Line { verdict: Verdict::Degrades, what, detail: detail.into() }
}

fn runtimes(proc: &Path) -> Line {
    let what = "container runtimes";
    let sockets: Vec<_> = crate::enrich::runtime_sockets(proc)
        .into_iter()
        .filter(|socket| socket.exists())
        .map(|socket| socket.display().to_string())
        .collect();
    if sockets.is_empty() {
        let detail = "no socket found; most containers are shown by id".into();
        return Line { verdict: Verdict::Degrades, what, detail };
    }
    Line { verdict: Verdict::Works, what, detail: sockets.join(", ") }
}
