//! Message brokers of this machine, run as databases are.

use std::{fs, os::unix::fs::chown, path::PathBuf};

use anyhow::Result;

use crate::{
    database::{Database, UNPRIVILEGED, free_port, listening, scratch, unprivileged},
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

    /// A fixture of ours: no distribution has a broker of Kafka's protocol.
    pub fn kafka() -> Result<Self> {
        let folder = scratch()?;
        let port = free_port()?;
        let mut command = unprivileged(tool::find("python3")?);
        command.arg("-c").arg(include_str!("../fixtures/kafka/broker.py")).arg(port.to_string());
        command.args(["certificate.pem", "key.pem"].map(|name| folder.path().join(name)));
        Self::start(command, folder, port)
    }

    /// RabbitMQ: user `joe` with the password `secret`. Its TLS is Erlang's own.
    pub fn rabbitmq() -> Result<Self> {
        let folder = scratch()?;
        let path = |name: &str| folder.path().join(name);
        let [port, names, nodes] = [free_port()?, free_port()?, free_port()?];
        let configuration = format!(
            "listeners.tcp = none\nlisteners.ssl.1 = 127.0.0.1:{port}\n\
             ssl_options.certfile = {}\nssl_options.keyfile = {}\n\
             default_user = joe\ndefault_pass = secret\n",
            path("certificate.pem").display(),
            path("key.pem").display(),
        );
        owned(&path("rabbitmq.conf"), Some(&configuration))?;
        owned(&path("plugins"), Some("[].\n"))?;
        // Without one of its own it would start one, which stays.
        let mut registry = unprivileged(tool::find("epmd")?);
        registry.args(["-address", "127.0.0.1", "-port", &names.to_string()]);
        let registry = listening(registry, names)?;
        let mut command = unprivileged(PathBuf::from("/usr/lib/rabbitmq/bin/rabbitmq-server"));
        command.env("HOME", folder.path()).env("ERL_EPMD_PORT", names.to_string());
        command.env("RABBITMQ_NODENAME", format!("tlstap-{port}@localhost"));
        command.env("RABBITMQ_DIST_PORT", nodes.to_string());
        command.env("RABBITMQ_CONF_ENV_FILE", path("none"));
        for (name, file) in [
            ("CONFIG_FILE", "rabbitmq.conf"),
            ("ENABLED_PLUGINS_FILE", "plugins"),
            ("MNESIA_BASE", "mnesia"),
            ("LOG_BASE", "log"),
        ] {
            command.env(format!("RABBITMQ_{name}"), path(file));
        }
        let mut server = Self::start(command, folder, port)?;
        server.beside = Some(registry);
        Ok(server)
    }
}

/// A file of the unprivileged user.
fn owned(path: &PathBuf, text: Option<&str>) -> Result<()> {
    if let Some(text) = text {
        fs::write(path, text)?;
    }
    Ok(chown(path, Some(UNPRIVILEGED), Some(UNPRIVILEGED))?)
}
