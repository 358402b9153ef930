//! `cargo xtask test [-- FILTER]`: all tiers, each with what it needs.

use std::{env::consts::ARCH, ffi::OsString, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    build, command, image,
    packages::{self, Package},
};

/// What the tests call the agent's image: not as it is called where it is used.
const IMAGE: &str = "tlstap-tests-agent:tested";

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Arguments of the test programs, such as a part of a test's name
    #[arg(last = true)]
    harness: Vec<OsString>,
    /// How many tests of the suite that fail are tried once more
    #[arg(skip)]
    second_tries: u32,
}

impl Args {
    /// Of everything a change must pass. A run of hundreds on a machine with others beside it is seldom
    /// without one that waited in vain; more than a few are no accident.
    pub(crate) fn all() -> Self {
        Self { second_tries: 2, ..Self::default() }
    }
}

pub(crate) fn test(args: &Args) -> Result<()> {
    if !command::is_root() {
        bail!("the tests load BPF programs and start containers: run this as root");
    }
    test_packages()?;
    // As it is shipped.
    let agent = build::agent_static()?;
    let image = image::make(IMAGE)?;
    command::run(
        command::cargo()
            .args(["test", "--workspace", "--"])
            .args(&args.harness)
            .env("TLSTAP_BIN", agent)
            .env("TLSTAP_IMAGE", image)
            .env("TLSTAP_SECOND_TRIES", args.second_tries.to_string()),
    )
}

/// The suite, compiled and not run; gives its path.
pub(crate) fn suite() -> Result<PathBuf> {
    // All of the workspace, as the tests are: a part has other features and is compiled anew.
    let build = ["test", "--workspace", "--no-run"];
    let messages = command::output(command::cargo().args(build).args([
        "--quiet",
        "--message-format",
        "json",
    ]))?;
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut suites = messages
        .filter(|message| message.pointer("/target/name").is_some_and(|name| name == "suite"));
    let suite = suites.find_map(|message| message.get("executable")?.as_str().map(PathBuf::from));
    suite.context("cargo tells no path of the suite")
}

/// What the tests start or compile against.
pub(crate) fn test_packages() -> Result<()> {
    let library = |name| format!("/usr/lib/{ARCH}-linux-gnu/{name}");
    // Of the libraries whose functions the unit tests execute.
    let [nspr, nss] = ["libnspr4.so", "libssl3.so"].map(library);
    let dbd_mariadb = library("perl5/5.36/DBD/MariaDB.pm");
    packages::ensure(
        "testing",
        &[
            Package::new("binutils", "objcopy"),
            Package::new("bpftool", "bpftool"),
            Package::new("busybox-static", "busybox"),
            Package::new("cmake", "cmake"),
            Package::new("containerd", "containerd"),
            Package::new("curl", "curl"),
            Package::new("debootstrap", "debootstrap"),
            Package::new("docker.io", "dockerd"),
            Package::new("dovecot-imapd", "/usr/lib/dovecot/imap"),
            Package::new("fish", "fish"),
            Package::new("g++", "c++"),
            Package::new("gcc", "cc"),
            Package::new("gnutls-bin", "gnutls-serv"),
            Package::new("golang-go", "go"),
            Package::new("iproute2", "ip"),
            Package::new("kubernetes-client", "kubectl"),
            Package::new("libc6-dev", "/usr/include/stdio.h"),
            Package::new("libdbd-mariadb-perl", &dbd_mariadb),
            Package::new("libgnutls28-dev", "/usr/include/gnutls/openssl.h"),
            Package::new("libmbedtls-dev", "/usr/include/mbedtls/ssl.h"),
            Package::new("libnspr4", &nspr),
            Package::new("libnss3", &nss),
            Package::new("libnss3-dev", "/usr/include/nss/ssl.h"),
            Package::new("libnss3-tools", "selfserv"),
            Package::new("libssl-dev", "/usr/include/openssl/ssl.h"),
            Package::new("libwolfssl-dev", "/usr/include/wolfssl/ssl.h"),
            Package::new("make", "make"),
            Package::new("mariadb-client", "mariadb"),
            Package::new("mariadb-server", "mariadbd"),
            Package::new("mosquitto", "mosquitto"),
            Package::new("mosquitto-clients", "mosquitto_pub"),
            Package::new("musl-tools", "musl-gcc"),
            Package::new("nghttp2-client", "nghttp"),
            Package::new("nghttp2-server", "nghttpd"),
            Package::new("nginx", "nginx"),
            Package::new("nodejs", "node"),
            Package::new("npm", "npm"),
            Package::new("openssl", "openssl"),
            // perl-base has perl, but not the modules that OpenSSL's Configure needs.
            Package::new("perl", "prove"),
            Package::new("podman", "podman"),
            // The Debian package's server, not the cluster that it makes.
            Package::new("postgresql-15", "/usr/lib/postgresql/15/bin/postgres"),
            Package::new("prometheus", "promtool"),
            Package::new("python3-pymongo", "/usr/lib/python3/dist-packages/pymongo/__init__.py"),
            Package::new("python3-kafka", "/usr/lib/python3/dist-packages/kafka/__init__.py"),
            Package::new("python3-paho-mqtt", "/usr/lib/python3/dist-packages/paho/mqtt/client.py"),
            Package::new("python3-pika", "/usr/lib/python3/dist-packages/pika/__init__.py"),
            Package::new("python3-pycurl", "/usr/lib/python3/dist-packages/curl/__init__.py"),
            Package::new("python3-psycopg2", "/usr/lib/python3/dist-packages/psycopg2/__init__.py"),
            Package::new("python3-aiosmtpd", "/usr/lib/python3/dist-packages/aiosmtpd/__init__.py"),
            Package::new("python3-pip", "pip3"),
            Package::new("rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server"),
            Package::new("redis-server", "redis-server"),
            Package::new("tcpdump", "tcpdump"),
            Package::new("tshark", "tshark"),
            Package::new("wget", "wget"),
            Package::new("xz-utils", "xz"),
            Package::new("zsh", "zsh"),
        ],
    )
}
