//! The clauses of `spec/clauses`, the comments in code and tests that cite them, and whether the two agree.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

/// Where code and tests are. A file is named by its path from the root, with its text.
const SOURCES: [&str; 14] = [
    "core/src",
    "core/tests",
    "store/src",
    "token/src",
    "token/tests",
    "ffi-python/src",
    "ffi-python/python",
    "ffi-python/tests",
    "ffi-kotlin/src",
    "ffi-kotlin/kotlin",
    "ffi-kotlin/swift/Sources",
    "ffi-kotlin/swift/Tests",
    "tests/tests",
    "tests/apps",
];
const LANGUAGES: [&str; 4] = ["rs", "py", "kt", "swift"];
const PAGES: &str = "spec/clauses";
pub const INDEX: &str = "spec/clauses/index.md";
/// Clauses on this page are decided and not built, or duties: not counted, and not to be cited.
const OPEN: &str = "open.md";
/// Of a hundred SHOULD, how many need code and a test.
const SHOULD_PERCENT: usize = 95;

pub type File = (String, String);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    Must,
    Should,
    Open,
}

#[derive(Debug)]
pub struct Clause {
    pub id: String,
    pub level: Level,
    pub page: String,
    /// Four hexadecimal characters over the normative words.
    pub digest: String,
}

/// A function that cites a clause.
#[derive(Debug)]
pub struct Citation {
    pub clause: String,
    pub digest: String,
    pub file: String,
    /// Line of the function, from 1.
    pub line: usize,
    pub function: String,
    pub is_test: bool,
}

/// All clauses and citations, and what is wrong with their form.
#[derive(Debug, Default)]
pub struct Book {
    pub clauses: Vec<Clause>,
    pub citations: Vec<Citation>,
    malformed: Vec<String>,
}

/// Pages and sources below the root of the repository.
pub fn files(root: &Path) -> io::Result<(Vec<File>, Vec<File>)> {
    let mut pages = Vec::new();
    gather(root, PAGES, "md", &mut pages)?;
    let mut sources = Vec::new();
    for folder in SOURCES {
        for ending in LANGUAGES {
            gather(root, folder, ending, &mut sources)?;
        }
    }
    Ok((pages, sources))
}

fn gather(root: &Path, folder: &str, ending: &str, into: &mut Vec<File>) -> io::Result<()> {
    let mut names = fs::read_dir(root.join(folder))?
        .map(|entry| entry.map(|entry| format!("{folder}/{}", entry.file_name().to_string_lossy())))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    for name in names {
        let path = root.join(&name);
        if path.is_dir() && !path.ends_with("target") {
            gather(root, &name, ending, into)?;
        } else if path.extension().is_some_and(|extension| extension == ending) {
            into.push((name, fs::read_to_string(path)?));
        }
    }
    Ok(())
}

impl Book {
    pub fn of(pages: &[File], sources: &[File]) -> Self {
        let mut book = Self::default();
        pages.iter().for_each(|(page, text)| book.read_page(page, text));
        sources.iter().for_each(|(file, text)| book.read_source(file, text));
        book
    }

    fn read_page(&mut self, page: &str, text: &str) {
        for part in text.split("\n#### ").skip(1) {
            let part = part.split("\n## ").next().unwrap_or_default();
            let (id, body) = part.split_once('\n').unwrap_or((part, ""));
            let (normative, reasons): (Vec<&str>, Vec<&str>) = body.lines().partition(|line| !line.starts_with('>'));
            let normative: Vec<&str> = normative.iter().flat_map(|line| line.split_whitespace()).collect();
            let says = |word| normative.iter().any(|said| said.trim_end_matches(['.', ',', ':', ';']) == word);
            let level = match (page.ends_with(OPEN), says("MUST"), says("SHOULD")) {
                (true, ..) => Level::Open,
                (_, true, false) => Level::Must,
                (_, false, true) => Level::Should,
                _ => {
                    self.malformed.push(format!("{id} says neither MUST nor SHOULD, or both"));
                    Level::Must
                }
            };
            let reasons = reasons.join(" ");
            if level != Level::Open && !(reasons.contains("*Threat:*") && reasons.contains("*Source:*")) {
                self.malformed.push(format!("{id} lacks its threat or its source"));
            }
            if self.clause(id).is_some() {
                self.malformed.push(format!("{id} occurs twice"));
            }
            let digest = digest(&normative.join(" "));
            self.clauses.push(Clause { id: id.to_owned(), level, page: page.to_owned(), digest });
        }
    }

    /// Citations stand in lines of their own, right above the line with the function's name, attributes in between.
    fn read_source(&mut self, file: &str, text: &str) {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let Some(cited) = cited(line) else { continue };
            let next = (at..lines.len()).find(|&at| self::cited(lines[at]).is_none() && !is_attribute(lines[at]));
            let Some((next, function)) = next.and_then(|at| Some((at, function(lines[at])?))) else {
                self.malformed.push(format!("{file}:{} cites a clause away from any function", at + 1));
                continue;
            };
            let above = lines[..next].iter().rev().take_while(|line| line.starts_with(['#', '/', '@']));
            let is_test = function.starts_with("test_") || above.chain([&lines[next]]).any(|line| makes_a_test(line));
            let of_tests = ["/test/", "/Tests/", "/tests/"].iter().any(|folder| file.contains(folder));
            let may_cite =
                is_test || !of_tests && ["/src/", "/python/", "/Sources/"].iter().any(|folder| file.contains(folder));
            if !may_cite {
                self.malformed.push(format!("{file}:{} cites a clause in a test file above what is no test", at + 1));
            }
            for entry in cited.split(", ") {
                let (clause, digest) = entry.split_once(' ').unwrap_or((entry, ""));
                let (clause, digest) = (clause.to_owned(), digest.to_owned());
                let (file, function) = (file.to_owned(), function.to_owned());
                self.citations.push(Citation { clause, digest, file, line: next + 1, function, is_test });
            }
        }
    }

    pub fn clause(&self, id: &str) -> Option<&Clause> {
        self.clauses.iter().find(|clause| clause.id == id)
    }

    /// The citations of a clause by code, or by tests.
    pub fn cited(&self, id: &str, by_test: bool) -> impl Iterator<Item = &Citation> {
        self.citations.iter().filter(move |citation| citation.clause == id && citation.is_test == by_test)
    }

    fn lacks(&self, clause: &Clause) -> Option<String> {
        let missing: Vec<_> = [(false, "code"), (true, "test")]
            .into_iter()
            .filter(|(by_test, _)| self.cited(&clause.id, *by_test).next().is_none())
            .map(|(_, what)| what)
            .collect();
        (!missing.is_empty())
            .then(|| format!("{} ({}) is cited by no {}", clause.id, clause.page, missing.join(", no ")))
    }

    /// Everything that is to be mended; nothing when all is well.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = self.malformed.clone();
        for Citation { clause: id, digest, file, line, .. } in &self.citations {
            complaints.extend(match self.clause(id) {
                None => Some(format!("{file}:{line} cites {id}, which is no clause")),
                Some(clause) if clause.level == Level::Open => {
                    Some(format!("{file}:{line} cites {id}, which is open: move it to the page of its subject"))
                }
                Some(clause) if clause.digest != *digest => Some(format!(
                    "{file}:{line} cites {id} {digest}, now {}: read both again, then spec/check --renew {id}",
                    clause.digest
                )),
                Some(_) => None,
            });
        }
        let of = |level| self.clauses.iter().filter(move |clause| clause.level == level);
        complaints.extend(of(Level::Must).filter_map(|clause| self.lacks(clause)));
        let should: Vec<_> = of(Level::Should).filter_map(|clause| self.lacks(clause)).collect();
        let count = of(Level::Should).count();
        if (count - should.len()) * 100 < count * SHOULD_PERCENT {
            complaints.extend(should);
        }
        complaints
    }

    /// One line of figures.
    pub fn summary(&self) -> String {
        let count = |level| self.clauses.iter().filter(|clause| clause.level == level).count();
        let cited = |level, by_test| {
            let of_level = self.clauses.iter().filter(move |clause| clause.level == level);
            of_level.filter(|clause| self.cited(&clause.id, by_test).next().is_some()).count()
        };
        let line = |level, name| {
            let (code, test) = (cited(level, false), cited(level, true));
            format!("{} {name} (code cites {code}, tests cite {test})", count(level))
        };
        format!("{}, {}, {} open", line(Level::Must, "MUST"), line(Level::Should, "SHOULD"), count(Level::Open))
    }

    /// The page that leads from each clause to code and tests. It has no line numbers, so only citations change it.
    pub fn index(&self) -> String {
        let mut text = String::from(
            "<!-- Printed by `make spec` from the citations in code and tests. Changes made here are lost. -->\n\n\
             # From clauses to code and tests\n\n",
        );
        let _infallible = writeln!(text, "{}.\n\n| clause | code | tests |\n|---|---|---|", self.summary());
        for Clause { id, page, .. } in self.clauses.iter().filter(|clause| clause.level != Level::Open) {
            let page = page.rsplit('/').next().unwrap_or_default();
            let links = |by_test| {
                let mut links: Vec<_> = self
                    .cited(id, by_test)
                    .map(|Citation { file, function, .. }| format!("[{function}](../../{file})"))
                    .collect();
                links.dedup();
                links.join("<br>")
            };
            let anchor = id.to_lowercase();
            let _infallible = writeln!(text, "| [{id}]({page}#{anchor}) | {} | {} |", links(false), links(true));
        }
        text
    }

    /// One JSON object for each counted clause and line.
    pub fn json(&self) -> String {
        let mut text = String::new();
        for Clause { id, level, .. } in self.clauses.iter().filter(|clause| clause.level != Level::Open) {
            let code = self.cited(id, false).map(|Citation { file, line, function, .. }| {
                format!(r#"{{"file":"{file}","line":{line},"function":"{function}"}}"#)
            });
            let tests = self.cited(id, true).map(|Citation { file, function, .. }| {
                format!(r#"{{"file":"{file}","name":"{function}","target":"{}"}}"#, target(file))
            });
            let (code, tests) = (code.collect::<Vec<_>>().join(","), tests.collect::<Vec<_>>().join(","));
            let level = if *level == Level::Must { "MUST" } else { "SHOULD" };
            let _infallible =
                writeln!(text, r#"{{"clause":"{id}","level":"{level}","code":[{code}],"tests":[{tests}]}}"#);
        }
        text
    }

    /// The sources in which citations of `id` were stale, with the digest of today.
    pub fn renewed(&self, id: &str, sources: Vec<File>) -> Option<Vec<File>> {
        let fresh = &self.clause(id)?.digest;
        let stale: BTreeMap<&str, &str> = self
            .citations
            .iter()
            .filter(|citation| citation.clause == id && citation.digest != *fresh)
            .map(|citation| (citation.file.as_str(), citation.digest.as_str()))
            .collect();
        let renew = |line: &str| match cited(line.trim()) {
            None => line.to_owned(),
            Some(entries) => {
                let with = |entry: &str| match entry.split(' ').next() {
                    Some(clause) if clause == id => format!("{id} {fresh}"),
                    _ => entry.to_owned(),
                };
                line.replace(entries, &entries.split(", ").map(with).collect::<Vec<_>>().join(", "))
            }
        };
        let sources = sources.into_iter().filter(|(file, _)| stale.contains_key(file.as_str()));
        Some(sources.map(|(file, text)| (file, text.split('\n').map(renew).collect::<Vec<_>>().join("\n"))).collect())
    }
}

/// What a line cites: `ROT-3 5f2c, ROT-4 81aa`.
fn cited(line: &str) -> Option<&str> {
    line.strip_prefix("// spec: ").or_else(|| line.strip_prefix("# spec: "))
}

/// A line that says something of the function below it.
fn is_attribute(line: &str) -> bool {
    line.starts_with("#[") || line.starts_with('@') && !line.contains(" func ")
}

fn makes_a_test(line: &str) -> bool {
    line == "#[test]" || line.starts_with("@Test") || line.starts_with("@ParameterizedTest")
}

/// The name of the function that a line declares.
fn function(line: &str) -> Option<&str> {
    let after = ["fn ", "def ", "fun ", "func "].iter().find_map(|word| {
        let at = line.find(word)?;
        (at == 0 || line[..at].ends_with(' ')).then(|| &line[at + word.len()..])
    })?;
    if let Some(words) = after.strip_prefix('`') {
        return words.split('`').next();
    }
    // Kotlin: what the function has a type parameter of, and what it is one of, stand before its name.
    let after = after.strip_prefix('<').and_then(|rest| rest.split_once("> ")).map_or(after, |(_, rest)| rest);
    let after = after.split('(').next().and_then(|before| before.rsplit('.').next()).unwrap_or(after);
    after.split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|name| !name.is_empty())
}

/// How to run the tests of a file.
fn target(file: &str) -> String {
    let parts: Vec<&str> = file.split('/').collect();
    match parts[..] {
        [.., name] if name.ends_with(".py") => format!("pytest {file}"),
        [.., name] if name.ends_with(".kt") => "make test-kotlin".to_owned(),
        [.., name] if name.ends_with(".swift") => "make test-swift".to_owned(),
        [package, "tests", name] => format!("-p coatroom-{package} --test {}", name.trim_end_matches(".rs")),
        [package, ..] => format!("-p coatroom-{package} --lib"),
        [] => String::new(),
    }
}

/// FNV-1a, folded to 16 bits: it is to notice a changed word, not to resist anybody.
fn digest(text: &str) -> String {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{:04x}", (hash >> 16) ^ (hash & 0xffff))
}
