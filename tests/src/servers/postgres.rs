use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::folder::temporary;
use super::process::{Process, User, find, run};
use super::{Certificates, Port, Server, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

/// A PostgreSQL server with a cluster of its own: user `coatroom`, database `postgres`, nobody asked for a password.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    port: Port,
    certificates: Certificates,
    folder: TempDir,
}

impl Postgres {
    /// A server with these lines in its configuration, besides port and folder. It offers TLS, and does not ask for it.
    pub fn start(lines: &[&str]) -> Self {
        let user = User::unless_root("postgres");
        let folder = temporary();
        if let Some(User { uid, gid }) = user {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).expect("root");
        }
        let data = folder.path().join("data");
        let place = data.to_str().expect("a path of text");
        let initialise = ["-D", place, "-U", "coatroom", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"];
        run(&program("initdb"), user, &initialise);
        let certificates = Certificates::make(folder.path(), user);
        let port = Port::free();
        std::fs::write(data.join("postgresql.auto.conf"), settings(&folder, &port, &certificates, lines))
            .expect("a configuration");
        let arguments = vec![OsString::from("-D"), OsString::from(&data)];
        let process = Process::new(&program("postgres"), arguments, user, folder.path().join("log"));
        let postgres = Self { process, port, certificates, folder };
        postgres.wait();
        postgres
    }

    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// `host:port`, for a proxy in front.
    pub fn address(&self) -> String {
        self.port.address()
    }

    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What `psql` prints for a statement, bare.
    pub fn query(&self, sql: &str) -> String {
        let output = std::process::Command::new(find("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url(), "-c", sql])
            .output()
            .expect("psql");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}

fn settings(folder: &TempDir, port: &Port, certificates: &Certificates, lines: &[&str]) -> String {
    let [certificate, key] = [&certificates.certificate, &certificates.key].map(|path| path.display());
    let (number, folder) = (port.number, folder.path().display());
    let mut text = format!("listen_addresses = '127.0.0.1'\nport = {number}\nunix_socket_directories = '{folder}'\n");
    text += &format!("ssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\n");
    lines.iter().for_each(|line| text += &format!("{line}\n"));
    text
}

impl Server for Postgres {
    fn url(&self) -> String {
        format!("postgres://coatroom@{}/postgres", self.address())
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// At once: after `TERM` it would wait until its clients have left.
    fn stop(&mut self) {
        self.process.stop("INT");
    }

    /// The server writes into a file of its own how far it is, after its process id.
    fn wait(&self) {
        let file = self.folder.path().join("data/postmaster.pid");
        let id = self.process.id().to_string();
        wait_until("PostgreSQL serves", PATIENCE, || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let mut lines = text.lines();
            lines.next() == Some(&id) && lines.nth(6).is_some_and(|line| line.trim() == "ready")
        });
    }
}

/// The newest PostgreSQL that Debian's packages brought.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let numbered = versions.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())));
    let newest = numbered.max().map(|(_, path)| path.join("bin").join(name));
    newest.filter(|path| path.is_file()).unwrap_or_else(|| panic!("no PostgreSQL: run `scripts/need servers`"))
}

/// PgBouncer in transaction mode, in front of a PostgreSQL server.
#[derive(Debug)]
pub struct PgBouncer {
    process: Process,
    port: Port,
    _folder: TempDir,
}

impl PgBouncer {
    pub fn over(server: &Postgres, lines: &[&str]) -> Self {
        let user = User::unless_root("postgres");
        let folder = temporary();
        let port = Port::free();
        let file = folder.path().join("pgbouncer.ini");
        let mut text = format!("[databases]\npostgres = host=127.0.0.1 port={} user=coatroom\n", server.port());
        text += &format!("[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n", port.number);
        text += "auth_type = any\npool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 200\n";
        lines.iter().for_each(|line| text += &format!("{line}\n"));
        std::fs::write(&file, text).expect("a configuration");
        if let Some(User { uid, gid }) = user {
            for path in [folder.path(), &file] {
                std::os::unix::fs::chown(path, Some(uid), Some(gid)).expect("root");
            }
        }
        let process = Process::new(&find("pgbouncer"), vec![file.into()], user, folder.path().join("log"));
        let bouncer = Self { process, port, _folder: folder };
        bouncer.wait();
        bouncer
    }
}

impl Server for PgBouncer {
    fn url(&self) -> String {
        format!("postgres://coatroom@{}/postgres", self.port.address())
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    fn wait(&self) {
        let address = self.port.address();
        wait_until("PgBouncer serves", PATIENCE, || std::net::TcpStream::connect(&address).is_ok());
    }
}
