//! Databases of NSS, which takes no keys from files.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::tool;

/// What the certificate is called in them.
pub const NICKNAME: &str = "server";

/// What a database consists of.
pub(crate) const FILES: [&str; 3] = ["cert9.db", "key4.db", "pkcs11.txt"];

/// What NSS opens by name while it runs.
pub(crate) const MODULES: [&str; 3] = ["libsoftokn3.so", "libfreebl3.so", "libfreeblpriv3.so"];

/// Makes one beside a key and its certificate; its name for NSS.
pub fn database(key: &Path, certificate: &Path) -> Result<String> {
    let folder = key.parent().context("a key without a folder")?;
    let database = format!("sql:{}", folder.display());
    let bundle = folder.join("server.p12");
    tool::run(tool::command("certutil", ["-N", "-d", &database, "--empty-password"])?)?;
    let mut pack = tool::command("openssl", ["pkcs12", "-export", "-passout", "pass:"])?;
    pack.args(["-name", NICKNAME, "-inkey"]).arg(key).arg("-in").arg(certificate);
    pack.arg("-out").arg(&bundle);
    tool::run(pack)?;
    let mut import = tool::command("pk12util", ["-d", &database, "-W", "", "-i"])?;
    import.arg(&bundle);
    tool::run(import)?;
    Ok(database)
}
