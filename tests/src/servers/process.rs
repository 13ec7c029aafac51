use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use super::wait_until;

/// A server process that can be started over and over. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    program: PathBuf,
    arguments: Vec<OsString>,
    user: Option<User>,
    log: PathBuf,
    child: Option<Child>,
}

/// Whom a server runs as that refuses to run as root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

impl User {
    /// The user `name` if this process is root's; else nobody needs to be changed.
    pub fn unless_root(name: &str) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        if std::fs::metadata("/proc/self").expect("a process").uid() != 0 {
            return None;
        }
        let users = std::fs::read_to_string("/etc/passwd").expect("a list of users");
        let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name);
        let fields = fields.unwrap_or_else(|| panic!("no user `{name}`: run `scripts/need servers`"));
        Some(Self { uid: fields[2].parse().expect("a user id"), gid: fields[3].parse().expect("a group id") })
    }
}

impl Process {
    /// Starts a program; what it prints goes to `log`.
    pub fn new(program: &Path, arguments: Vec<OsString>, user: Option<User>, log: PathBuf) -> Self {
        let mut process = Self { program: program.to_owned(), arguments, user, log, child: None };
        process.start();
        process
    }

    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.program.display());
        let mut command = bound(&self.program, self.user);
        command.args(&self.arguments).current_dir(self.log.parent().expect("a folder"));
        let log = File::options().create(true).append(true).open(&self.log).expect("a log file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log file")).stderr(log);
        self.child = Some(spawn(command).unwrap_or_else(|error| panic!("{}: {error}", self.program.display())));
    }

    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("a child").is_none())
    }

    /// What it has printed, for the message of a test that fails.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// A signal to the process and everything that it started.
    pub fn signal(&self, signal: &str) {
        send(signal, &family(self.id()));
    }

    /// Sends a signal that asks it to end, and waits for that.
    pub fn stop(&mut self, signal: &str) {
        send(signal, &[self.id()]);
        let name = self.program.display().to_string();
        wait_until(&format!("{name} ends"), Duration::from_secs(20), || !self.is_running());
        self.child = None;
    }

    pub fn kill9(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let family = family(child.id());
        send("KILL", &family);
        child.wait().expect("a child");
        let gone = || family.iter().all(|id| !Path::new(&format!("/proc/{id}")).exists() || is_zombie(*id));
        wait_until("killed processes are gone", Duration::from_secs(10), gone);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Runs a program to its end, with the same care, and shows what it printed if it fails.
pub fn run(program: &Path, user: Option<User>, arguments: &[&str]) {
    let mut command = bound(program, user);
    let output = command.args(arguments).current_dir("/").stdin(Stdio::null()).output().expect("a program to run");
    let printed = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{} failed: {}", program.display(), String::from_utf8_lossy(&printed));
}

/// The program in `PATH`.
pub fn find(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("`{name}` is not installed: run `scripts/need servers`"))
}

/// A command that ends with this process.
fn bound(program: &Path, user: Option<User>) -> Command {
    let mut command = Command::new(find("setpriv"));
    command.args(["--pdeathsig", "KILL"]);
    if let Some(User { uid, gid }) = user {
        command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
    }
    command.arg(program);
    command
}

/// Starts a command in a thread that lasts as long as this process: to the kernel, the parent that a child dies with is
/// the thread, and a test's own ends with the test.
fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static PARENT: OnceLock<Sender<Order>> = OnceLock::new();
    let parent = PARENT.get_or_init(|| {
        let (orders, receiver) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in receiver {
                answer.send(command.spawn()).expect("somebody waits");
            }
        });
        orders
    });
    let (answer, child) = channel();
    parent.send((command, answer)).expect("a thread that starts servers");
    child.recv().expect("a thread that starts servers")
}

/// The process and everything below it.
fn family(id: u32) -> Vec<u32> {
    let mut family = vec![id];
    let mut at = 0;
    while let Some(id) = family.get(at) {
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        family.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        at += 1;
    }
    family
}

fn is_zombie(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

fn send(signal: &str, ids: &[u32]) {
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    let script = format!("kill -{signal} {} 2>/dev/null", ids.join(" "));
    Command::new("/bin/sh").args(["-c", &script]).status().expect("a shell");
}
