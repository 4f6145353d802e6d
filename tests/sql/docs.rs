//! The SQL of README and docs is run, as a reader would run it.
//!
//! Blocks fenced as `sql` run in psql, in their order, in one session and one fresh database a file; a block fenced as `sql error` must fail in its last
//! statement. The server that they call `http://localhost:8000/v1` is one that says what it is told.

use std::{fmt::Write as _, fs, io::Write as _, path::Path, path::PathBuf, process::Stdio};

use pg_llm_tests::{Asked, Cluster, Settings, db_error};
use pg_llm_upstream::Upstream;
use serde_json::json;

const ENDPOINT: &str = "http://localhost:8000/v1";

#[derive(Debug, PartialEq)]
struct Block {
    line: usize,
    fails: bool,
    sql: String,
}

/// The blocks of SQL of a page.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, Block)> = None;
    for (at, line) in page.lines().enumerate() {
        let trimmed = line.trim_start();
        match &mut open {
            Some(_) if trimmed.trim_end() == "```" => {
                let (language, block) = open.take().unwrap();
                if matches!(language, "sql" | "sql error") {
                    blocks.push(block);
                }
            }
            Some((_, block)) => {
                block.sql += line;
                block.sql.push('\n');
            }
            None => {
                if let Some(language) = trimmed.strip_prefix("```").map(str::trim) {
                    open = Some((language, Block { line: at + 1, fails: language == "sql error", sql: String::new() }));
                }
            }
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// What psql is given: each block says its line before it begins, and one that must fail looks whether it did.
fn script(blocks: &[Block], endpoint: &str) -> String {
    let mut script = String::new();
    for Block { line, fails, sql } in blocks {
        let sql = sql.replace(ENDPOINT, endpoint);
        let _ = if *fails {
            write!(
                script,
                "\\echo line {line}\n\\set ON_ERROR_STOP 0\n{sql}\n\\set ON_ERROR_STOP 1\n\\if :ERROR\n\\else\n\\echo 'it succeeded'\nSELECT 1 / 0;\n\\endif\n"
            )
        } else {
            write!(script, "\\echo line {line}\n{sql}\n")
        };
    }
    script + "\\echo the end\n"
}

/// Runs a page, and gives back what went wrong.
fn run(page: &Path) -> Result<usize, String> {
    let text = fs::read_to_string(page).map_err(|error| error.to_string())?;
    let blocks = blocks(&text);
    if blocks.is_empty() {
        return Ok(0);
    }
    // Pages may create roles, and roles are the cluster's.
    let cluster = Cluster::start(&Settings::for_models().line("shared_preload_libraries = 'pg_llm'"));
    let upstream = Upstream::start_echo();
    let creates = blocks.iter().any(|block| block.sql.to_lowercase().contains("create extension"));
    let database = if creates { cluster.empty_database() } else { cluster.database() };
    let mut command = database.psql_command();
    command.args(["--quiet", "--file=-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut psql = command.spawn().map_err(|error| error.to_string())?;
    let mut input = psql.stdin.take().unwrap();
    let script = script(&blocks, &format!("{}/v1", upstream.url()));
    // What psql leaves unread because it has stopped is no error of ours.
    let writer = std::thread::spawn(move || drop(input.write_all(script.as_bytes())));
    let output = psql.wait_with_output().map_err(|error| error.to_string())?;
    writer.join().unwrap();
    cluster.assert_no_crash();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() && said.lines().any(|line| line == "the end") {
        return Ok(blocks.len());
    }
    let line = said.lines().filter_map(|line| line.strip_prefix("line ")).next_back().unwrap_or("?");
    let why = if said.lines().any(|line| line == "it succeeded") { "this block must fail, and did not" } else { errors.trim_end() };
    Err(format!("{}:{line}: {why}", page.display()))
}

fn pages() -> (PathBuf, Vec<PathBuf>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages: Vec<PathBuf> = fs::read_dir(root.join("docs")).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    (root.join("README.md"), pages)
}

#[test]
fn the_readmes_sql_does_what_it_says() {
    let (readme, _) = pages();
    assert!(readme.exists(), "there is a README");
    assert!(run(&readme).unwrap_or_else(|error| panic!("{error}")) > 0, "the README shows SQL");
}

#[test]
fn the_sql_of_every_page_of_docs_does_what_it_says() {
    let wrong: Vec<String> = pages().1.iter().filter_map(|page| run(page).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn links_between_pages_lead_somewhere() {
    let (readme, docs) = pages();
    for page in std::iter::once(&readme).chain(&docs) {
        let text = fs::read_to_string(page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") {
                assert!(page.parent().unwrap().join(file).exists(), "{}: {target}", page.display());
            }
        }
    }
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)).unwrap()
}

#[test]
fn the_page_of_settings_has_every_setting_and_no_other() {
    let mut client = Cluster::shared().database().superuser();
    client.batch_execute("LOAD 'pg_llm'").unwrap();
    let rows = client.query("SELECT name FROM pg_settings WHERE name LIKE 'pg\\_llm.%'", &[]).unwrap();
    // Which pg_settings does not show.
    let mut settings: Vec<String> = rows.iter().map(|row| row.get(0)).chain(["pg_llm.master_key".to_owned()]).collect();
    settings.sort();
    let page = page("settings.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut described: Vec<String> = rows.map(str::to_owned).collect();
    described.sort();
    assert_eq!(described, settings);
}

#[test]
fn the_page_of_chat_has_every_option_and_every_key_of_the_answer() {
    let mut asked = Asked::echo();
    let page = page("chat.md");
    let unknown = db_error(asked.chat("Hello", &json!({"banana": 1})));
    let options = unknown.hint().unwrap().strip_prefix("Known options: ").unwrap().trim_end_matches('.').to_owned();
    let answer = asked.chat_json("Hello", &json!({})).unwrap().unwrap();
    let keys: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    for name in options.split(", ").chain(keys) {
        assert!(page.contains(&format!("`{name}`")), "docs/chat.md does not name `{name}`");
    }
}

/// The table of `docs/builtin-providers.md`, from what the components say of themselves.
fn table_of_providers() -> String {
    const COLUMNS: [(&str, &str); 10] = [
        ("stream", "stream"),
        ("tools", "tools"),
        ("schema", "json_schema"),
        ("vision", "vision"),
        ("documents", "documents"),
        ("thinking", "thinking"),
        ("logprobs", "logprobs"),
        ("embeddings", "embeddings"),
        ("rerank", "rerank"),
        ("list of models", "list_models"),
    ];
    let mut client = Cluster::shared().database().superuser();
    let sql = "SELECT model_type, aliases, adapter, capabilities, 'batches' = ANY (exports) FROM pg_llm_providers WHERE builtin ORDER BY adapter, model_type";
    let titles: Vec<&str> = COLUMNS.iter().map(|(title, _)| *title).collect();
    let mut table =
        format!("| `model_type` | adapter | chat | {} | batch |\n|---|---|---|{}---|\n", titles.join(" | "), "---|".repeat(COLUMNS.len()));
    for row in client.query(sql, &[]).unwrap() {
        let (name, aliases, adapter): (&str, Vec<&str>, &str) = (row.get(0), row.get(1), row.get(2));
        let capabilities: Vec<&str> = row.get(3);
        let names = std::iter::once(name).chain(aliases).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let mark = |has: bool| if has { "✓" } else { "" };
        let marks: Vec<&str> = COLUMNS.iter().map(|(_, flag)| mark(capabilities.contains(flag))).collect();
        let _ = writeln!(table, "| {names} | {adapter} | ✓ | {} | {} |", marks.join(" | "), mark(row.get(4)));
    }
    table
}

#[test]
fn the_table_of_built_in_providers_is_what_they_say_of_themselves() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/builtin-providers.md");
    let text = fs::read_to_string(&file).unwrap();
    let begin = text.find("<!-- begin").and_then(|at| Some(at + text[at..].find('\n')? + 1)).unwrap();
    let end = text.find("<!-- end").unwrap();
    let table = table_of_providers();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(&file, [&text[..begin], &table, &text[end..]].concat()).unwrap();
    }
    assert_eq!(&text[begin..end], table, "UPDATE_GOLDEN=1 writes it anew");
}

#[test]
fn blocks_of_sql_are_found_and_others_left_alone() {
    let page = "text\n```sql\nSELECT 1;\n```\n```\nSELECT 2;\n```\n```text\n```\n```sql error\nSELECT 3;\n```\n";
    let found: Vec<_> = blocks(page).into_iter().map(|block| (block.line, block.fails, block.sql)).collect();
    assert_eq!(found, [(2, false, "SELECT 1;\n".to_owned()), (10, true, "SELECT 3;\n".to_owned())]);
}

#[test]
fn a_page_that_is_wrong_is_found_out_with_its_line() {
    let file = std::env::temp_dir().join(format!("pg_llm-page-{}.md", std::process::id()));
    for (page, expected) in [
        ("# A page\n```sql\nSELECT 1;\n```\n", Ok(1)),
        ("```sql\nSELECT 1;\n```\n```sql\nSELECT no_such_column;\n```\n", Err(":4: ")),
        ("```sql error\nSELECT no_such_column;\n```\n```sql\nSELECT 1;\n```\n", Ok(2)),
        ("\n```sql error\nSELECT 1;\n```\n", Err(":2: this block must fail, and did not")),
        ("```sql\nSELECT pg_llm_chat('x', 'y'\n```\n", Err(":1: ")),
    ] {
        fs::write(&file, page).unwrap();
        let found = run(&file);
        match expected {
            Ok(blocks) => assert_eq!(found, Ok(blocks), "{page}"),
            Err(words) => assert!(found.as_ref().is_err_and(|error| error.contains(words)), "{page}: {found:?}"),
        }
    }
    fs::remove_file(&file).unwrap();
}

/// A promise is only as good as what attacks it.
#[test]
fn every_test_that_the_security_page_names_exists() {
    fn sources(folder: &Path, all: &mut String) {
        for entry in fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()) {
            if entry.is_dir() {
                sources(&entry, all);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                all.push_str(&fs::read_to_string(entry).unwrap());
            }
        }
    }
    let (folder, mut tests) = (Path::new(env!("CARGO_MANIFEST_DIR")), String::new());
    sources(&folder.join("sql"), &mut tests);
    let page = fs::read_to_string(folder.join("../docs/security.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with('|'));
    let last = rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
    let names: Vec<&str> = last
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| name.matches('_').count() > 2 && !name.starts_with("pg_llm_") && !name.contains(['(', '.']))
        .collect();
    assert!(names.len() > 50, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !tests.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
