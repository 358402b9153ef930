//! nginx, one process on a processor of its own, with its own copy of the TLS library.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    ground::Ground,
    process::{Core, Running, on},
};

const START: Duration = Duration::from_secs(10);

pub(super) struct Server {
    running: Running,
    pub(super) port: u16,
}

impl Server {
    pub(super) fn start(ground: &Ground) -> Result<Self> {
        let port = free_port()?;
        let (config, log) = (ground.path("nginx.conf"), ground.path("nginx.log"));
        let folder = config.parent().context("a path without a folder")?;
        fs::write(&config, configuration(folder, port)).context("failed to configure nginx")?;
        let mut nginx = on(Core::Server, "nginx");
        nginx.arg("-c").arg(&config).arg("-e").arg(&log);
        nginx.env("LD_LIBRARY_PATH", ground.path("server"));
        let server = Self { running: Running::start("nginx", nginx)?, port };
        server.listens(&log)?;
        Ok(server)
    }

    fn listens(&self, log: &Path) -> Result<()> {
        let deadline = Instant::now() + START;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if Instant::now() > deadline {
                bail!("nginx did not start: {}", fs::read_to_string(log).unwrap_or_default());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    pub(super) fn pid(&self) -> u32 {
        self.running.pid()
    }

    pub(super) fn cpu_ns(&self) -> Result<u64> {
        self.running.cpu_ns()
    }
}

/// One that nobody listens on now.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

/// Without a master process, so that nothing is left when the one process is killed. Bodies go
/// through the TLS library's buffers: no kernel TLS, no sendfile.
fn configuration(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile off;
    open_file_cache max=100;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;
        root {folder}/www;
    }}
}}
"
    )
}
