//! Every clause that must hold is cited by code and by a test, in the words it has today.

use std::path::Path;

use coatroom_tests::clauses::{Book, File, INDEX, files};

#[test]
fn every_must_is_cited_by_code_and_by_a_test_in_its_present_words() {
    let (pages, sources) = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap();
    let book = Book::of(&pages, &sources);
    println!("{}", book.summary());
    for clause in &book.clauses {
        let tests: Vec<_> = book.cited(&clause.id, true).map(|citation| citation.function.as_str()).collect();
        println!("{:<10} {}", clause.id, tests.join(", "));
    }
    let complaints = book.complaints();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    let committed = pages.iter().find(|(page, _)| page == INDEX).map(|(_, text)| text.as_str());
    assert!(committed == Some(&book.index()), "{INDEX} is not what the citations say: run `make spec`");
}

/// A page with one MUST, one SHOULD and one open clause.
fn pages() -> Vec<File> {
    let reasons = "> *Threat:* a. *Source:* b.";
    vec![
        (
            "p/a.md".into(),
            format!("# A\n\n#### A-1\nIt MUST hold.\n\n{reasons}\n\n#### A-2\nIt SHOULD.\n\n{reasons}\n"),
        ),
        ("p/open.md".into(), "# Open\n\n#### A-3\nIt MUST come.\n".into()),
    ]
}

/// Code and a test that cite what they are told to, under the digests of today.
fn sources(code: &str, test: &str) -> Vec<File> {
    let book = Book::of(&pages(), &[]);
    let cite = |ids: &str| {
        let digest = |id| book.clause(id).map_or("0000", |clause| clause.digest.as_str());
        ids.split(' ').map(|id| format!("{id} {}", digest(id))).collect::<Vec<_>>().join(", ")
    };
    vec![
        ("core/src/a.rs".into(), format!("/// What it does.\n// spec: {}\npub(crate) fn act() {{}}\n", cite(code))),
        ("tests/tests/a.rs".into(), format!("#[test]\n// spec: {}\nfn it_acts() {{}}\n", cite(test))),
    ]
}

fn complaints(pages: &[File], sources: &[File]) -> String {
    Book::of(pages, sources).complaints().join("\n")
}

#[test]
fn nothing_is_said_of_clauses_that_code_and_tests_cite() {
    assert_eq!(complaints(&pages(), &sources("A-1 A-2", "A-1 A-2")), "");
}

#[test]
fn a_missing_citation_is_found_for_code_and_for_tests() {
    assert_eq!(complaints(&pages(), &sources("A-1 A-2", "A-2")), "A-1 (p/a.md) is cited by no test");
    assert_eq!(complaints(&pages(), &sources("A-2", "A-1 A-2")), "A-1 (p/a.md) is cited by no code");
    assert!(complaints(&pages(), &sources("A-1", "A-1")).contains("A-2"), "half of the SHOULDs are too few");
}

#[test]
fn a_reworded_clause_breaks_its_citations_until_they_are_renewed() {
    let mut reworded = pages();
    reworded[0].1 = reworded[0].1.replace("It MUST hold.", "It MUST always hold.");
    let old = sources("A-1 A-2", "A-1 A-2");
    let said = complaints(&reworded, &old);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.lines().all(|line| line.contains("spec/check --renew A-1")), "{said}");

    let book = Book::of(&reworded, &old);
    assert!(book.renewed("A-9", old.clone()).is_none());
    assert!(book.renewed("A-2", old.clone()).unwrap().is_empty());
    let renewed = book.renewed("A-1", old).unwrap();
    assert_eq!(complaints(&reworded, &renewed), "");
    assert_ne!(complaints(&pages(), &renewed), "");
}

#[test]
fn a_changed_threat_or_line_break_breaks_nothing() {
    let mut changed = pages();
    changed[0].1 = changed[0].1.replace("*Threat:* a.", "*Threat:* c.").replace("It MUST", "It\nMUST");
    assert_eq!(complaints(&changed, &sources("A-1 A-2", "A-1 A-2")), "");
}

#[test]
fn unknown_open_and_doubled_ids_are_found() {
    assert!(complaints(&pages(), &sources("A-1 A-2 A-9", "A-1 A-2")).contains("A-9, which is no clause"));
    assert!(complaints(&pages(), &sources("A-1 A-2 A-3", "A-1 A-2")).contains("A-3, which is open"));
    let mut doubled = pages();
    doubled.push(("p/b.md".into(), doubled[0].1.clone()));
    assert!(complaints(&doubled, &sources("A-1 A-2", "A-1 A-2")).contains("A-1 occurs twice"));
}

#[test]
fn a_citation_counts_only_above_a_function_and_in_a_test_file_above_a_test() {
    let with = |from: &str, to: &str| {
        let mut sources = sources("A-1 A-2", "A-1 A-2");
        sources.iter_mut().for_each(|(_, text)| *text = text.replace(from, to));
        complaints(&pages(), &sources)
    };
    assert!(with("pub(crate) fn act() {}", "\nfn act() {}").contains("core/src/a.rs:2 cites a clause away from any"));
    assert!(with("#[test]\n", "").contains("above what is no test"));
    assert_eq!(with("pub(crate) fn act() {}", "// spec: A-1 0000\nconst fn act() {}").lines().count(), 1);
}

#[test]
fn functions_and_tests_of_kotlin_and_swift_are_told_apart_and_named() {
    let digest = &Book::of(&pages(), &[]).clauses[0].digest.clone();
    let of = |file: &str, lines: &str| {
        let book = Book::of(&pages(), &[(file.to_owned(), format!("// spec: A-1 {digest}\n{lines}\n"))]);
        book.citations.first().map(|cited| (cited.function.clone(), cited.is_test))
    };
    let some = |name: &str, is_test| Some((name.to_owned(), is_test));
    let (kotlin, swift) = ("ffi-kotlin/kotlin/a/src/test/kotlin/A.kt", "ffi-kotlin/swift/Tests/A.swift");
    assert_eq!(of(kotlin, "@Test\nfun `it acts`() {"), some("it acts", true));
    assert_eq!(of(kotlin, "@ParameterizedTest\n@ValueSource(strings = [\"a\"])\nfun acts() {"), some("acts", true));
    assert_eq!(of(swift, "@Test func acts() async throws {"), some("acts", true));
    let code = "ffi-kotlin/kotlin/a/src/main/kotlin/A.kt";
    assert_eq!(of(code, "private fun Response.act(what: A) {"), some("act", false));
    assert_eq!(of(code, "public suspend fun <T> exchange(request: A): B<T> {"), some("exchange", false));
    assert!(
        complaints(&pages(), &[(kotlin.into(), format!("// spec: A-1 {digest}\nfun act() {{\n"))]).contains("no test")
    );
}

#[test]
fn a_clause_without_level_threat_or_source_is_found() {
    let with = |from: &str, to: &str| {
        let mut pages = pages();
        pages[0].1 = pages[0].1.replacen(from, to, 1);
        complaints(&pages, &sources("A-1 A-2", "A-1 A-2"))
    };
    assert!(with("It MUST hold.", "It holds.").contains("A-1 says neither"));
    assert!(with("*Threat:*", "Threat").contains("A-1 lacks"));
    assert!(with("*Source:*", "Source").contains("A-1 lacks"));
}

#[test]
fn programs_read_where_a_clause_is_kept_and_how_its_tests_are_run() {
    let json = Book::of(&pages(), &sources("A-1 A-2", "A-1")).json();
    assert_eq!(
        json.lines().next(),
        Some(
            r#"{"clause":"A-1","level":"MUST","code":[{"file":"core/src/a.rs","line":3,"function":"act"}],"tests":[{"file":"tests/tests/a.rs","name":"it_acts","target":"-p coatroom-tests --test a"}]}"#
        )
    );
    assert_eq!(json.lines().count(), 2);
}
