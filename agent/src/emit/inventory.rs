//! The list of processes with TLS code, as a table for people.

use std::io::{self, Write};

use super::{escape::Escaped, place::place};
use crate::inventory::{Finding, Status};

const HEAD: [&str; 7] = ["PID", "COMMAND", "CONTAINER", "LIBRARY", "VERSION", "STATUS", "PATH"];

/// Writes a table.
pub fn table<W: Write>(findings: &[Finding], out: &mut W) -> io::Result<()> {
    let rows: Vec<[String; 7]> =
        [HEAD.map(str::to_owned)].into_iter().chain(findings.iter().map(row)).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: [usize; 7] = std::array::from_fn(|column| width(column).unwrap_or(0));
    for row in &rows {
        let cells: Vec<_> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
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
        or_dash(Some(&place(finding.container.as_ref()))),
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
    use super::*;
    use crate::{
        emit::sample,
        resolve::{FileKey, Reason},
    };

    #[test]
    fn columns_line_up_and_nothing_escapes() {
        let record = sample::http();
        let mut hooked = Finding {
            process: record.process,
            container: record.container,
            library: record.tls,
            status: Status::Hooked(Vec::new()),
            file: Some(FileKey::Inode { device: 1, inode: 2 }),
        };
        let skipped = Finding {
            library: None,
            container: None,
            status: Status::Skipped(Reason::Permission),
            ..hooked.clone()
        };
        hooked.process.command = Some("evil\x1b[2J".to_owned());
        let mut out = Vec::new();
        table(&[hooked, skipped], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let column = |line: &str, word: &str| line.find(word);
        assert_eq!(column(lines[0], "STATUS"), column(lines[1], "hooked"));
        assert_eq!(column(lines[0], "STATUS"), column(lines[2], "skipped: permission"));
        assert!(lines[1].contains("web") && lines[2].contains("host"), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }
}
