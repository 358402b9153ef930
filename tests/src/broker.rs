//! Message brokers of this machine, run as databases are.

use std::{fs, os::unix::fs::chown, path::PathBuf};

use anyhow::Result;

use crate::{
    database::{Database, UNPRIVILEGED, free_port, scratch, unprivileged},
    tool,
};

impl Database {
    /// Mosquitto: user `joe` with the password `secret`, who may use the topics below `cats`.
    pub fn mosquitto() -> Result<Self> {
        let folder = scratch()?;
        let path = |name: &str| folder.path().join(name);
        let mut command = tool::command("mosquitto_passwd", ["-b", "-c"])?;
        tool::run({
            command.arg(path("passwords")).args(["joe", "secret"]);
            command
        })?;
        owned(&path("passwords"), None)?;
        owned(&path("access"), Some("user joe\ntopic readwrite cats/#\n"))?;
        let port = free_port()?;
        let named = |name: &str| path(name).display().to_string();
        let configuration = format!(
            "listener {port} 127.0.0.1\ncertfile {}\nkeyfile {}\nallow_anonymous false\n\
             password_file {}\nacl_file {}\nqueue_qos0_messages true\n",
            named("certificate.pem"),
            named("key.pem"),
            named("passwords"),
            named("access")
        );
        owned(&path("configuration"), Some(&configuration))?;
        let mut command = unprivileged(tool::find("mosquitto")?);
        command.arg("-c").arg(path("configuration"));
        Self::start(command, folder, port)
    }
}

/// A file of the unprivileged user.
fn owned(path: &PathBuf, text: Option<&str>) -> Result<()> {
    if let Some(text) = text {
        fs::write(path, text)?;
    }
    Ok(chown(path, Some(UNPRIVILEGED), Some(UNPRIVILEGED))?)
}
