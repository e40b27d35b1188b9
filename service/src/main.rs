//! `refsyncd`: serves the service, and has commands for its operator.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand, ValueEnum};
use refsync_service::{
    Error, ErrorKind, chain, commands,
    config::{Config, Flags, Place},
    doctor, log,
    records::{KeyId, Name, Scope},
    server,
};
use tokio::signal::unix::{SignalKind, signal};

/// Upstream syncs as a service around refsync
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve; the same as no command
    Serve(Flags),
    /// Manage organizations
    #[command(subcommand)]
    Org(OrgCommand),
    /// Manage API keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Manage nodes
    #[command(subcommand)]
    Node(NodeCommand),
    /// Look for what an operator has to mend, also while the folder is served; fails if there is anything
    Doctor {
        /// Name of the node whose folders are looked at [default: local]
        #[arg(long, value_name = "NAME", env = "REFSYNCD_NODE")]
        node: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Replace the master key, while nothing serves the data folder
    Rekey(Place),
}

#[derive(Subcommand)]
enum OrgCommand {
    /// Make an organization and print its first admin key
    Create {
        /// Name in paths
        slug: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Make a key and print it
    Create {
        /// Organization
        #[arg(long, default_value = "default")]
        org: String,
        /// Name of the key
        #[arg(long)]
        name: Option<String>,
        /// Scope, which includes those before it
        #[arg(long, default_value = "admin")]
        scope: ScopeWord,
        #[command(flatten)]
        place: Place,
    },
    /// Remove a key by its id
    Revoke {
        /// Id of the key, as key_...
        id: String,
        /// Organization
        #[arg(long, default_value = "default")]
        org: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Subcommand)]
enum NodeCommand {
    /// Give the name of a node whose data folder is lost to the next process that asks for it
    Release {
        /// Name of the node
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum ScopeWord {
    Read,
    Write,
    Admin,
}

impl From<ScopeWord> for Scope {
    fn from(word: ScopeWord) -> Self {
        match word {
            ScopeWord::Read => Scope::Read,
            ScopeWord::Write => Scope::Write,
            ScopeWord::Admin => Scope::Admin,
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(cli.command.unwrap_or(Command::Serve(cli.flags)))),
        Err(err) => Err(failed("starting failed", err)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            writeln!(io::stderr(), "refsyncd: {}", chain(&err)).ok();
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Serve(flags) => serve(configuration(flags)?).await,
        Command::Org(OrgCommand::Create { slug, place }) => {
            let slug =
                Name::new(slug).map_err(|err| Error::new(ErrorKind::Config, err.to_string()))?;
            let key = commands::org_create(&of_place(place)?, &slug).await?;
            print(&format!("admin key: {key}"))
        }
        Command::Key(KeyCommand::Create {
            org,
            name,
            scope,
            place,
        }) => {
            let (key, secret) =
                commands::key_create(&of_place(place)?, &org, name, vec![scope.into()]).await?;
            print(&format!("key id: {}", key.id))?;
            print(&format!("key: {secret}"))
        }
        Command::Key(KeyCommand::Revoke { id, org, place }) => {
            let id: KeyId = id
                .parse()
                .map_err(|err| Error::new(ErrorKind::Config, "the id of a key").because(err))?;
            commands::key_revoke(&of_place(place)?, &org, &id).await
        }
        Command::Node(NodeCommand::Release { name, place }) => {
            commands::node_release(&of_place(place)?, &name).await
        }
        Command::Doctor { node, place } => {
            let flags = Flags {
                place,
                node,
                ..Flags::default()
            };
            examine(&configuration(flags)?).await
        }
        Command::Rekey(place) => {
            let resealed = commands::rekey(&of_place(place)?).await?;
            print(&format!("secrets sealed with the new key: {resealed}"))
        }
    }
}

async fn examine(config: &Config) -> Result<(), Error> {
    let findings = doctor::doctor(config).await?;
    if findings.is_empty() {
        return print("all is well");
    }
    findings.iter().try_for_each(|finding| print(finding))?;
    let text = format!("findings: {}", findings.len());
    Err(Error::new(ErrorKind::Findings, text))
}

async fn serve(config: Config) -> Result<(), Error> {
    log::start(config.log);
    let no_signal = |err| failed("waiting for signals failed", err);
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signal)?;
    let running = server::start(config).await?;
    print(&format!("listening on http://{}", running.address))?;
    if let Some(key) = &running.admin_key {
        print(&format!("admin key: {key}"))?;
    }
    let done = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        reason = running.replaced() => Err(reason),
    };
    tracing::info!("stopping");
    running.stop().await;
    done
}

fn configuration(flags: Flags) -> Result<Config, Error> {
    let invalid =
        |err| Error::new(ErrorKind::Config, "the configuration can't be used").because(err);
    Config::of(flags).map_err(invalid)
}

fn of_place(place: Place) -> Result<Config, Error> {
    configuration(Flags {
        place,
        ..Flags::default()
    })
}

fn print(line: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    let printed = writeln!(out, "{line}").and_then(|()| out.flush());
    printed.map_err(|err| failed("printing failed", err))
}

fn failed(what: &str, err: io::Error) -> Error {
    Error::new(ErrorKind::Io, what).because(err)
}
