//! Which Postgres the clusters are of.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{account::Account, folder::Folder};

/// The programs of one Postgres, where the server's account can run them.
#[derive(Debug)]
pub struct Installation {
    bin: PathBuf,
    /// Holds a copy of the tree when the account cannot reach the original, as below a home folder of mode 0700.
    _copy: Option<Folder>,
}

impl Installation {
    /// The one that `PG_LLM_PG_CONFIG` names, else `target/host/postgres-18`.
    pub fn of_tests() -> &'static Self {
        static INSTALLATION: OnceLock<Installation> = OnceLock::new();
        INSTALLATION.get_or_init(|| {
            let pg_config = std::env::var_os("PG_LLM_PG_CONFIG")
                .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/host/postgres-18/bin/pg_config"), PathBuf::from);
            Self::at(&pg_config)
        })
    }

    fn at(pg_config: &Path) -> Self {
        let folder = |option: &str| -> PathBuf {
            let output = Command::new(pg_config).arg(option).output().unwrap_or_else(|error| {
                panic!("{}: {error}; `make test` brings a server and names it by PG_LLM_PG_CONFIG", pg_config.display())
            });
            let path = String::from_utf8(output.stdout).expect("a path in UTF-8");
            Path::new(path.trim_end()).canonicalize().unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        let (bin, libraries, share) = (folder("--bindir"), folder("--pkglibdir"), folder("--sharedir"));
        let needed = [&bin.join("postgres"), &libraries.join("plpgsql.so"), &share.join("postgres.bki")];
        let ours = [libraries.join("pg_llm.so"), libraries.join("pg_llm_compiler"), share.join("extension/pg_llm.control")];
        let needed: Vec<&Path> = needed.into_iter().chain(ours.iter().filter(|path| path.exists())).map(PathBuf::as_path).collect();
        if Account::of_servers().reaches(&needed) {
            return Self { bin, _copy: None };
        }
        let root = bin.ancestors().find(|above| libraries.starts_with(above) && share.starts_with(above)).expect("/ is above all");
        assert!(root.components().count() > 2, "{} cannot be read by the server's account", root.display());
        let copy = Folder::new();
        let to = copy.path().join("postgres");
        let script = "cp -a --reflink=auto \"$1/.\" \"$2\" && chmod -R a+rX \"$2\"";
        std::fs::create_dir(&to).expect("a folder in a new folder");
        let status = Command::new("/bin/sh").args(["-c", script, "sh"]).args([root, &to]).process_group(0).status();
        assert!(status.is_ok_and(|status| status.success()), "copying {} to {}", root.display(), to.display());
        let bin = to.join(bin.strip_prefix(root).expect("the root is above"));
        Self { bin, _copy: Some(copy) }
    }

    /// The path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// The major version.
    pub fn major(&self) -> u32 {
        let output = Command::new(self.program("postgres")).arg("--version").output().expect("postgres --version");
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = version.split_whitespace().nth(2).and_then(|number| number.split(|c: char| !c.is_ascii_digit()).next());
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("a version in {version}"))
    }
}
