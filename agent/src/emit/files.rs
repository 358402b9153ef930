//! Where files of containers lie, and what is in them, for people and for programs.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Write},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use jiff::{Timestamp, tz::TimeZone};
use rustix::fs::{FileType, Stat};

use super::{
    columns,
    escape::{Escaped, is_unsafe},
    json::files as json,
    place::place,
};
use crate::fs::{Listed, Mount, Owner, Place, Report, Way};

/// Longest piece of a line that is held while it is made safe for a terminal.
const PIECE: u64 = 64 << 10;

/// Writes all ways to the files as two tables.
pub fn report<W: Write>(owner: &Owner, report: &Report, out: &mut W) -> io::Result<()> {
    writeln!(out, "{}\n", heading(owner))?;
    table(&["ROOT", "PATH", "TOLD BY"], report.roots.iter().map(way), out)?;
    if !report.mounts.is_empty() {
        writeln!(out)?;
        let head = ["MOUNT", "TYPE", "ACCESS", "PATH"];
        table(&head, report.mounts.iter().map(mount), out)?;
    }
    Ok(())
}

/// The same as one object.
pub fn report_json<W: Write>(owner: &Owner, report: &Report, out: &mut W) -> io::Result<()> {
    json::report(owner, report, out)
}

/// Writes where one file lies as an object.
pub fn place_json<W: Write>(owner: &Owner, place: &Place, out: &mut W) -> io::Result<()> {
    json::place(owner, place, out)
}

/// Writes what is in a folder as one object a line.
pub fn list_json<W: Write>(owner: &Owner, files: &[Listed], out: &mut W) -> io::Result<()> {
    files.iter().try_for_each(|file| json::listed(owner, file, out))
}

/// Writes one path, byte for byte unless a terminal shows it.
pub fn path<W: Write>(path: &Path, terminal: bool, out: &mut W) -> io::Result<()> {
    let bytes = path.as_os_str().as_bytes();
    if terminal {
        return writeln!(out, "{}", Escaped(bytes));
    }
    out.write_all(bytes)?;
    out.write_all(b"\n")
}

/// Writes what is in a folder, as `ls -l` does.
pub fn list<W: Write>(files: &[Listed], out: &mut W) -> io::Result<()> {
    let zone = TimeZone::system();
    let rows: Vec<_> = files.iter().map(|file| row(file, &zone)).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0)
    };
    let widths: [usize; 4] = std::array::from_fn(width);
    for [mode, user, group, size, time, name] in &rows {
        let [w0, w1, w2, w3] = widths;
        writeln!(out, "{mode:<w0$} {user:>w1$} {group:>w2$} {size:>w3$} {time} {name}")?;
    }
    Ok(())
}

/// Writes what is in a file: as it is, or for a terminal such that it is only ever text.
pub fn contents<W: Write>(file: File, terminal: bool, out: &mut W) -> io::Result<()> {
    let mut file = BufReader::new(file);
    if !terminal {
        return io::copy(&mut file, out).map(drop);
    }
    let mut piece = Vec::new();
    while (&mut file).take(PIECE).read_until(b'\n', &mut piece)? > 0 {
        out.write_all(visible(&piece).as_bytes())?;
        piece.clear();
    }
    Ok(())
}

/// Text with line ends and tabs as they are, and all else that a terminal would not just show as escapes.
fn visible(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if matches!(c, '\n' | '\t') || !is_unsafe(c) {
                text.push(c);
            } else {
                text.extend(c.escape_debug());
            }
        }
        text.push_str(&Escaped(chunk.invalid()).to_string());
    }
    text
}

/// `web, process 4711 (nginx)`.
fn heading(Owner { process, container }: &Owner) -> String {
    let container = Escaped(place(container.as_deref()).as_bytes()).to_string();
    let Some(process) = process else {
        return format!("{container}, not running");
    };
    let command = Escaped(process.command.as_deref().unwrap_or("?").as_bytes());
    format!("{container}, process {} ({command})", process.pid)
}

fn way(way: &Way) -> Vec<String> {
    let missing = if way.exists { "" } else { "  (not there)" };
    vec![way.kind.to_owned(), shown(&way.path) + missing, way.told_by.join(", ")]
}

fn mount(mount: &Mount) -> Vec<String> {
    let kind = match &mount.volume {
        Some(name) => format!("{} {}", mount.kind, Escaped(name.as_bytes())),
        None => Escaped(mount.kind.as_bytes()).to_string(),
    };
    let access = if mount.read_only { "ro" } else { "rw" };
    let path = mount.path.as_deref().map_or_else(|| "-".to_owned(), shown);
    vec![shown(&mount.point), kind, access.to_owned(), path]
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}

fn table<W: Write>(
    head: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    out: &mut W,
) -> io::Result<()> {
    let head = head.iter().map(ToString::to_string).collect();
    let rows: Vec<Vec<String>> = [head].into_iter().chain(rows).collect();
    columns::lines(&rows).try_for_each(|line| writeln!(out, "{line}"))
}

fn row(file: &Listed, zone: &TimeZone) -> [String; 6] {
    let Listed { name, stat, link } = file;
    let to = link.as_ref().map(|to| format!(" -> {}", shown(to))).unwrap_or_default();
    let time = Timestamp::from_second(stat.st_mtime).map_or_else(
        |_| "?".to_owned(),
        |time| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    );
    [
        mode(stat),
        stat.st_uid.to_string(),
        stat.st_gid.to_string(),
        stat.st_size.to_string(),
        time,
        Escaped(OsStr::as_bytes(name)).to_string() + &to,
    ]
}

/// `drwxr-xr-x`.
fn mode(stat: &Stat) -> String {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        _ => '-',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = stat.st_mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, stat.st_mode & special != 0) {
            (true, false) => 'x',
            (false, false) => '-',
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::{Container, Process};

    #[test]
    fn nothing_gets_to_a_terminal_but_text() {
        assert_eq!(visible(b"a\tb\\ \x1b[31m\r\n\xffz"), "a\tb\\ \\u{1b}[31m\\r\n\\xffz");
        let mut out = Vec::new();
        path(Path::new("/a\x1b[2J\n"), true, &mut out).unwrap();
        assert_eq!(out, b"/a\\u{1b}[2J\\n\n");
        out.clear();
        path(Path::new("/a\x1b\n"), false, &mut out).unwrap();
        assert_eq!(out, b"/a\x1b\n\n");
    }

    #[test]
    fn tables_line_up() {
        let owner = Owner {
            process: Some(
                Process { pid: 41, command: Some("nginx".into()), executable: None }.into(),
            ),
            container: Some(Container { name: Some("web".into()), ..Container::default() }.into()),
        };
        let way = |kind, path: &str, exists| Way {
            kind,
            path: path.into(),
            exists,
            told_by: vec!["kernel".into(), "docker".into()],
        };
        let mount = Mount {
            point: "/data".into(),
            kind: "volume".into(),
            volume: Some("v".into()),
            source: Some("/srv/v".into()),
            path: Some("/srv/v".into()),
            read_only: true,
        };
        let all = Report {
            roots: vec![way("process", "/proc/41/root", true), way("merged", "/m\x1b", false)],
            mounts: vec![mount],
        };
        let mut out = Vec::new();
        report(&owner, &all, &mut out).unwrap();
        let expect = "\
web, process 41 (nginx)

ROOT     PATH                   TOLD BY
process  /proc/41/root          kernel, docker
merged   /m\\u{1b}  (not there)  kernel, docker

MOUNT  TYPE      ACCESS  PATH
/data  volume v  ro      /srv/v
";
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }

    #[test]
    fn modes_read_as_those_of_ls() {
        let shown = |raw| {
            let mut stat = rustix::fs::stat("/").unwrap();
            stat.st_mode = raw;
            mode(&stat)
        };
        assert_eq!(shown(0o100_644), "-rw-r--r--");
        assert_eq!(shown(0o104_755), "-rwsr-xr-x");
        assert_eq!(shown(0o041_777), "drwxrwxrwt");
        assert_eq!(shown(0o102_640), "-rw-r-S---");
        assert_eq!(shown(0o120_777), "lrwxrwxrwx");
    }
}
