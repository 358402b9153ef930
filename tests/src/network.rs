//! A network of its own for a container, as a pod has it: nothing but the loopback device.

use std::time::Duration;

use anyhow::Result;

use crate::{child::Child, tool};

const LIMIT: Duration = Duration::from_secs(10);

/// A network namespace; it goes when this is dropped.
pub struct Network(Child);

impl Network {
    /// Makes it.
    pub fn new() -> Result<Self> {
        let hold = "ip link set lo up && echo up && exec cat";
        let child = Child::start(tool::command("unshare", ["--net", "sh", "-c", hold])?)?;
        child.says("up", LIMIT)?;
        Ok(Self(child))
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.pid())
    }

    /// The option of `ctr run` for a container in it.
    pub fn option(&self) -> String {
        format!("--with-ns=network:{}", self.path())
    }

    /// The status code of the answer to a path at a port in it; `000` when nobody answers.
    pub fn status(&self, port: u64, path: &str) -> Result<String> {
        let (network, url) =
            (format!("--net={}", self.path()), format!("http://127.0.0.1:{port}{path}"));
        let mut ask = tool::command("nsenter", [&network, "curl", "--silent"])?;
        ask.args(["--output", "/dev/null", "--write-out", "%{http_code}", &url]);
        Ok(String::from_utf8_lossy(&ask.output()?.stdout).into_owned())
    }
}
