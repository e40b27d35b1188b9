//! A server of PostgreSQL for tests, from the programs of an installed one. Without them tests with it are skipped.
//!
//! All tests of a run share one server, whose data lies in memory where there is some; each takes a schema of its
//! own. A shell holds the server and ends it, and removes its data, when no process of a test lives any more, however
//! it has ended: each holds a lock on a file, which the system frees.

use std::{
    fs::{self, File},
    io,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

/// The time in which a server starts.
const STARTED: Duration = Duration::from_secs(60);

/// Ends the server when nobody shares the lock on `users` any more. The lock is held while it ends, so that nobody
/// joins a server that goes.
const KEEPER: &str = r#"
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c fsync=off -c max_connections=400 >"$2/log" 2>&1 &
server=$!
while true; do
    sleep 2
    exec 9<"$2/users"
    if flock -n -x 9; then break; fi
    exec 9<&-
done
kill -INT $server
wait $server
rm -rf "$2"
"#;

/// Ends the server when the other end of standard input is closed, and starts it again for each line that comes.
const OWNER: &str = r#"
server() {
    "$1/postgres" -D "$2/data" -k "$2" -c "fsync=$3" >>"$2/log" 2>&1 &
    server=$!
}
server "$@"
while read -r how; do
    kill "-$how" $server
    wait $server
    server "$@"
done
kill -INT $server
wait $server
rm -rf "$2"
"#;

/// The folder of the programs of PostgreSQL, if they are installed.
pub fn programs() -> Option<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").ok();
    let mut versions: Vec<PathBuf> = debian
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    let version = |path: &PathBuf| {
        let name = path.parent().and_then(Path::file_name);
        name.and_then(|name| name.to_str()?.parse::<u32>().ok())
    };
    versions.sort_by_key(version);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has_both = |folder: &PathBuf| {
        folder.join("initdb").is_file()
            && folder.join("postgres").is_file()
            && Path::new("/usr/bin/flock").is_file()
    };
    let mut folders = versions
        .into_iter()
        .rev()
        .chain(std::env::split_paths(&path));
    folders.find(has_both)
}

/// A new, empty database on the shared server, as an address; `None`, and a line that says so, without PostgreSQL.
pub fn database() -> Option<String> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    static SHARED: OnceLock<Option<Shared>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| programs().map(|programs| Shared::join(&programs)));
    let Some(shared) = shared else {
        #[allow(clippy::print_stderr)]
        {
            eprintln!("skipped: there is no PostgreSQL, or no flock");
        }
        return None;
    };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let schema = format!("test_{}_{number}", std::process::id());
    Some(with_schema(&shared.folder, &schema))
}

/// The address of a schema, which is made.
fn with_schema(folder: &Path, schema: &str) -> String {
    let host = folder.to_str().expect("a path in UTF-8");
    let address = format!("postgres:///postgres?host={host}&user=postgres");
    let sql = format!("drop schema if exists {schema} cascade; create schema {schema}");
    let made = async {
        let connect = <sqlx::PgConnection as sqlx::Connection>::connect;
        let mut connection = connect(&address).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut connection)
            .await?;
        sqlx::Connection::close(connection).await
    };
    // On a thread of its own: the caller may be on a runtime.
    std::thread::scope(|scope| {
        let made = scope.spawn(|| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().expect("a runtime");
            runtime.block_on(made)
        });
        made.join().expect("a thread").expect("a schema");
    });
    format!("{address}&options=-csearch_path%3D{schema}")
}

/// The user that the server runs as: none other than this one, or `postgres` or `nobody` in the place of root.
fn user() -> Option<(u32, u32)> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map(str::parse);
        Some((ids.next()?.ok()?, ids.next()?.ok()?))
    };
    is_root.then(|| ids("postgres").or_else(|| ids("nobody")))?
}

fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command.current_dir("/").stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    if let Some((user, group)) = user() {
        command.uid(user).gid(group);
    }
    command
}

/// A new folder of the server's user. Its path is short: that of a socket has at most 107 bytes.
fn new_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    File::create(folder.join("users"))?;
    if let Some((user, group)) = user() {
        chown(folder, Some(user), Some(group))?;
        chown(folder.join("users"), Some(user), Some(group))?;
    }
    Ok(())
}

/// Makes the data of a server. Its language has another order than that of bytes, as many a server's.
fn init(programs: &Path, folder: &Path) {
    let run = |more: &[&str]| {
        let mut initdb = command(programs.join("initdb"));
        initdb.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"]);
        initdb.args(["--no-sync", "-D"]).arg(folder.join("data"));
        initdb.args(more).status().expect("initdb runs").success()
    };
    let icu = ["--locale-provider=icu", "--icu-locale=en-US"];
    assert!(run(&icu) || run(&[]), "initdb failed");
    let settings = folder.join("data/postgresql.conf");
    let text = fs::read_to_string(&settings).expect("the settings");
    fs::write(settings, format!("{text}\nlisten_addresses = ''\n")).expect("written");
}

fn keep(script: &str, programs: &Path, folder: &Path, fsync: &str, stdin: Stdio) -> Child {
    let mut shell = command("/bin/sh");
    shell.args(["-c", script, "keeper"]).arg(programs);
    shell.arg(folder).arg(fsync).stdin(stdin);
    shell.process_group(0).spawn().expect("a shell")
}

fn is_ready(folder: &Path) -> bool {
    let state = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
    let is_up = state
        .lines()
        .nth(7)
        .is_some_and(|line| line.trim() == "ready");
    is_up && std::os::unix::net::UnixStream::connect(folder.join(".s.PGSQL.5432")).is_ok()
}

fn wait_until_ready(folder: &Path) {
    let began = Instant::now();
    while !is_ready(folder) {
        let log = || fs::read_to_string(folder.join("log"));
        assert!(began.elapsed() < STARTED, "no server: {:?}", log());
        sleep(Duration::from_millis(5));
    }
}

/// The folder of this program, for tests inside of the library, which Cargo tells of no folder for temporary files.
fn program_folder() -> PathBuf {
    let program = std::env::current_exe().expect("a program");
    program.parent().expect("a folder").to_owned()
}

/// The server of all tests of a run.
struct Shared {
    folder: PathBuf,
    /// The shell, if this process has started it. It outlives this process.
    _keeper: Option<Child>,
    /// Locked for as long as this process lives.
    _user: File,
}

impl Shared {
    fn join(programs: &Path) -> Self {
        // Of this folder of builds alone: others may have other programs.
        let target = option_env!("CARGO_TARGET_TMPDIR").map_or_else(program_folder, PathBuf::from);
        let number = target.metadata().map_or(0, |target| target.ino());
        let memory = Path::new("/dev/shm");
        let root = Some(memory.to_owned()).filter(|root| root.is_dir());
        let root = root.unwrap_or_else(std::env::temp_dir);
        let folder = root.join(format!("refsyncd-postgres-{number}"));
        let one_at_a_time = File::create(target.join("postgres.lock")).expect("a file");
        one_at_a_time.lock().expect("a lock");
        let mut keeper = None;
        let user = loop {
            if new_folder(&folder).is_ok() {
                init(programs, &folder);
                keeper = Some(keep(KEEPER, programs, &folder, "off", Stdio::null()));
            }
            match Self::enter(&folder) {
                Some(user) => break user,
                None => sleep(Duration::from_millis(10)),
            }
        };
        wait_until_ready(&folder);
        Shared {
            folder,
            _keeper: keeper,
            _user: user,
        }
    }

    /// Shares the lock on the server; `None` if it is about to end.
    fn enter(folder: &Path) -> Option<File> {
        let path = folder.join("users");
        let user = File::open(&path).ok()?;
        user.try_lock_shared().ok()?;
        let is_there = path.metadata().ok()?.ino() == user.metadata().ok()?.ino();
        Some(user).filter(|_| is_there)
    }
}

/// A server of one test, which ends it, or lets it start again.
pub struct Server {
    folder: PathBuf,
    keeper: Child,
}

impl Server {
    /// A new server, which loses its data with the machine; `None`, and a line that says so, without PostgreSQL.
    pub fn start() -> Option<Self> {
        Self::start_in(&std::env::temp_dir(), "off")
    }

    /// A new server with its data below `root`, with or without `fsync`.
    pub fn start_in(root: &Path, fsync: &str) -> Option<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let Some(programs) = programs() else {
            #[allow(clippy::print_stderr)]
            {
                eprintln!("skipped: there is no PostgreSQL, or no flock");
            }
            return None;
        };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("refsyncd-own-{}-{number}", std::process::id());
        let folder = root.join(name);
        new_folder(&folder).expect("a folder");
        init(&programs, &folder);
        let keeper = keep(OWNER, &programs, &folder, fsync, Stdio::piped());
        wait_until_ready(&folder);
        Some(Server { folder, keeper })
    }

    /// The folder of its data and its log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The address of a new, empty database.
    pub fn database(&self, schema: &str) -> String {
        with_schema(&self.folder, schema)
    }

    /// Runs a script in the server's folder, as its user; false if it fails.
    pub fn shell(&self, script: &str) -> bool {
        let mut shell = command("/bin/sh");
        shell.args(["-euc", script]).current_dir(&self.folder);
        shell.status().expect("a shell").success()
    }

    /// Ends the server as `signal` does it, and starts it again: `INT` in order, `QUIT` as a crash does.
    pub fn restart(&mut self, signal: &str) {
        use std::io::Write as _;
        let pid = self.folder.join("data/postmaster.pid");
        let first = |text: String| text.lines().next().map(str::to_owned);
        let number = || fs::read_to_string(&pid).ok().and_then(first);
        let before = number();
        let input = self.keeper.stdin.as_mut().expect("a pipe");
        writeln!(input, "{signal}").expect("a line");
        let began = Instant::now();
        while number() == before {
            assert!(began.elapsed() < STARTED, "no other server");
            sleep(Duration::from_millis(2));
        }
        wait_until_ready(&self.folder);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        self.keeper.wait().ok();
        // Empty by now. The server's user may not remove it from everywhere.
        fs::remove_dir(&self.folder).ok();
    }
}
