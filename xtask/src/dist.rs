//! `cargo xtask dist`: what a release consists of, in `target/dist`: an archive with the static agent,
//! its manual pages and completions; the image; what it is made of; and the checksums of all.

use std::{
    env::consts::ARCH,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};

use crate::{
    archive::{self, Entry},
    build, command, image, packages, workspace,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What goes along with the program.
const DOCUMENTS: [&str; 5] =
    ["README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE-APACHE", "LICENSE-MIT"];

pub(crate) fn dist() -> Result<()> {
    let folder = workspace::target()?.join("dist");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("failed to clear target/dist")?;
    }
    fs::create_dir_all(&folder).context("failed to make target/dist")?;
    let agent = build::agent_static()?;
    let image = fs::read(image::make(image::NAME)?).context("failed to read the image")?;
    let files = [
        (format!("tlstap-{VERSION}-{ARCH}-linux.tar.gz"), gzip(&program(&agent)?)?),
        (format!("tlstap-{VERSION}-{ARCH}-image.tar.gz"), gzip(&image)?),
        (format!("tlstap-{VERSION}.cdx.json"), bill_of_materials()?),
    ];
    let mut sums = String::new();
    for (name, bytes) in &files {
        write(&folder, name, bytes)?;
        sums.push_str(&format!("{}  {name}\n", archive::digest(bytes)));
    }
    write(&folder, "SHA256SUMS", sums.as_bytes())?;
    eprintln!("xtask: the release is in {}", folder.display());
    Ok(())
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    fs::write(folder.join(name), bytes).with_context(|| format!("failed to write {name}"))
}

/// The program and what belongs to it, in a folder of its own.
fn program(agent: &Path) -> Result<Vec<u8>> {
    let inside = |name: &str| format!("tlstap-{VERSION}/{name}");
    let read =
        |file: &Path| fs::read(file).with_context(|| format!("failed to read {}", file.display()));
    let mut entries = vec![Entry::program(inside("tlstap"), read(agent)?)];
    for name in DOCUMENTS {
        entries.push(Entry::new(inside(name), read(&workspace::root().join(name))?));
    }
    let generated = generated(agent)?;
    for file in fs::read_dir(&generated).context("the agent generated nothing")? {
        let file = file?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let kind = if name.ends_with(".1") { "man" } else { "completions" };
        entries.push(Entry::new(inside(&format!("{kind}/{name}")), read(&file)?));
    }
    archive::pack(entries)
}

/// A folder with manual pages and completions.
fn generated(agent: &Path) -> Result<PathBuf> {
    let folder = workspace::target()?.join("generated");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("failed to clear target/generated")?;
    }
    command::run(Command::new(agent).arg("generate").arg(&folder))?;
    Ok(folder)
}

/// The crates in the agent, as CycloneDX has it. The tool writes beside the manifest.
fn bill_of_materials() -> Result<Vec<u8>> {
    let package = workspace::root().join("agent");
    let mut cyclonedx = Command::new(packages::cargo_tool("cargo-cyclonedx")?);
    cyclonedx
        .args(["cyclonedx", "--format", "json", "--override-filename", "bill-of-materials"])
        .arg("--manifest-path")
        .arg(package.join("Cargo.toml"))
        // Then it has no time, and no number of its own.
        .env("SOURCE_DATE_EPOCH", "0");
    command::run(&mut cyclonedx)?;
    let file = package.join("bill-of-materials.json");
    let text = fs::read_to_string(&file).context("cargo-cyclonedx wrote nothing")?;
    // It writes one for each package of the workspace.
    for package in ["agent", "agent-ebpf", "tests", "xtask"] {
        let written = workspace::root().join(package).join("bill-of-materials.json");
        fs::remove_file(written).context("failed to remove what cargo-cyclonedx wrote")?;
    }
    Ok(from_anywhere(&text, workspace::root()).into_bytes())
}

/// The text without the place where the checkout lies, which its own crates are named after.
fn from_anywhere(text: &str, root: &Path) -> String {
    text.replace(&format!("{}/", root.display()), "")
}

/// Compresses, without a name and a time.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut compressed = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    compressed.write_all(bytes)?;
    Ok(compressed.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_tells_where_it_was_built() {
        let text =
            r#"{"bom-ref": "path+file:///home/joe/tlstap/agent#0.1.0", "purl": "pkg:cargo/a@1"}"#;
        let cleaned = r#"{"bom-ref": "path+file://agent#0.1.0", "purl": "pkg:cargo/a@1"}"#;
        assert_eq!(from_anywhere(text, Path::new("/home/joe/tlstap")), cleaned);
    }
}
