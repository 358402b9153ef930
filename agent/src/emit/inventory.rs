//! The list of processes with TLS code, as a table for people.

use std::io::{self, Write};

use super::{columns, escape::Escaped, place::place};
use crate::{
    inventory::{Finding, Status},
    resolve::Probe,
};

const HEAD: [&str; 7] = ["PID", "COMMAND", "CONTAINER", "LIBRARY", "VERSION", "STATUS", "PATH"];

/// Writes a table; with `probes`, below each hooked library where its probes go.
pub fn table<W: Write>(findings: &[Finding], probes: bool, out: &mut W) -> io::Result<()> {
    let rows: Vec<[String; 7]> =
        [HEAD.map(str::to_owned)].into_iter().chain(findings.iter().map(row)).collect();
    let below = [None].into_iter().chain(findings.iter().map(Some));
    for (line, finding) in columns::lines(&rows).zip(below) {
        writeln!(out, "{line}")?;
        if let Some(Finding { status: Status::Hooked(hooked), .. }) = finding.filter(|_| probes) {
            hooked.iter().try_for_each(|probe| place_of(probe, out))?;
        }
    }
    Ok(())
}

/// Where one probe goes: the function, the instruction in it, and what a hit costs.
fn place_of<W: Write>(probe: &Probe, out: &mut W) -> io::Result<()> {
    let function = format!("{}+{:#x}", probe.symbol, probe.site.offset);
    let (class, method) = (probe.site.class.as_str(), probe.method.as_str());
    writeln!(out, "    {function:<28}  {class:<8}  {method:<6}  {:#x}", probe.site_offset())
}

fn row(finding: &Finding) -> [String; 7] {
    let library = finding.library.as_ref();
    let status = match &finding.status {
        Status::Hooked(_) => "hooked".to_owned(),
        Status::Skipped(reason) => format!("skipped: {reason}"),
    };
    [
        finding.process.pid.to_string(),
        or_dash(finding.process.command.as_deref()),
        or_dash(Some(&place(finding.container.as_deref()))),
        or_dash(library.map(|library| library.name.as_ref())),
        or_dash(library.and_then(|library| library.version.as_deref())),
        status,
        or_dash(library.map(|library| library.path.as_str())),
    ]
}

fn or_dash(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| Escaped(text.as_bytes()).to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        emit::sample,
        resolve::{Class, FileKey, Method, Reason, Site},
    };
    use tlstap_ebpf::{Function, Places};

    #[test]
    fn columns_line_up_and_nothing_escapes() {
        let record = sample::http();
        let mut hooked = Finding {
            library: sample::library(&record),
            process: record.process,
            container: record.container,
            status: Status::Hooked(Vec::new()),
            file: Some(FileKey::Inode { device: 1, inode: 2 }),
        };
        let skipped = Finding {
            library: None,
            container: None,
            status: Status::Skipped(Reason::Permission),
            ..hooked.clone()
        };
        Arc::make_mut(&mut hooked.process).command = Some("evil\x1b[2J".to_owned());
        let mut out = Vec::new();
        table(&[hooked, skipped], false, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let column = |line: &str, word: &str| line.find(word);
        assert_eq!(column(lines[0], "STATUS"), column(lines[1], "hooked"));
        assert_eq!(column(lines[0], "STATUS"), column(lines[2], "skipped: permission"));
        assert!(lines[1].contains("web") && lines[2].contains("host"), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }
    #[test]
    fn where_probes_go() {
        let record = sample::http();
        let site = Site { offset: 3, class: Class::Emulated };
        let (function, method) = (Function::Free, Method::Dynsym);
        let places = Places::default();
        let offset = 0x3b350;
        let probe = Probe { symbol: "SSL_free", function, offset, method, site, places };
        let hooked = Finding {
            library: sample::library(&record),
            process: record.process,
            container: record.container,
            status: Status::Hooked(vec![probe]),
            file: None,
        };
        for probes in [false, true] {
            let mut out = Vec::new();
            table(std::slice::from_ref(&hooked), probes, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            let below: Vec<_> = text.lines().skip(2).map(|l| l.split_whitespace()).collect();
            let words: Vec<Vec<_>> = below.into_iter().map(Iterator::collect).collect();
            let expect = vec![vec!["SSL_free+0x3", "emulated", "dynsym", "0x3b353"]];
            assert_eq!(words, if probes { expect } else { Vec::new() });
        }
    }
}
