//! Holds docs/spec.md against the JSON schemas of the runtime specification and the tests of this tree.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// The sections of other systems, of which the schemas are not here: a row for each as a whole.
const OTHER_SYSTEMS: &[&str] = &["solaris", "windows", "vm", "zos", "freebsd"];

/// What features-linux.md has and its schema of 1.3 has forgotten; and what has no schema at all.
const ONLY_IN_PROSE: &[(&str, &[&str])] = &[
    (
        "features",
        &[
            "/linux/intelRdt/schemata",
            "/linux/intelRdt/monitoring",
            "/linux/memoryPolicy",
            "/linux/memoryPolicy/modes",
            "/linux/memoryPolicy/flags",
        ],
    ),
    ("Container process state", &["/ociVersion", "/fds", "/pid", "/metadata", "/state"]),
];

/// A heading of the page, its schema, and the part of it that the heading is for.
type Heading = (&'static str, Option<&'static str>, fn(&str) -> bool);

const HEADINGS: &[Heading] = &[
    ("config.json", Some("config-schema.json"), |name| !name.starts_with("/linux/")),
    ("linux", Some("config-schema.json"), |name| name.starts_with("/linux/")),
    ("features", Some("features-schema.json"), |_| true),
    ("State", Some("state-schema.json"), |_| true),
    ("Container process state", None, |_| true),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The properties of a schema, as pointers with `*` for any element or key.
fn properties(schema: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(schema, &load(schema), "", &mut found);
    found
}

fn load(schema: &str) -> Value {
    let text = fs::read_to_string(root().join("tests/schemas").join(schema));
    serde_json::from_str(&text.unwrap_or_else(|error| panic!("{schema}: {error}"))).unwrap()
}

fn walk(document: &str, schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let (file, pointer) = reference.split_once('#').unwrap();
        let section = pointer.trim_start_matches('/');
        if !OTHER_SYSTEMS.contains(&section) {
            let file = if file.is_empty() { document } else { file };
            walk(file, load(file).pointer(pointer).unwrap(), at, found);
        }
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}/{name}");
        walk(document, member, &at, found);
        found.insert(at);
    }
    let any_key = schema["patternProperties"].as_object().into_iter().flat_map(|it| it.values());
    let others = [&schema["additionalProperties"], &schema["items"]];
    for member in any_key.chain(others).filter(|member| member.is_object()) {
        walk(document, member, &format!("{at}/*"), found);
    }
    for alternative in ["allOf", "anyOf", "oneOf"] {
        for one in schema[alternative].as_array().into_iter().flatten() {
            walk(document, one, at, found);
        }
    }
}

/// A row of the page: the heading it stands under, and its three cells.
struct Row {
    heading: String,
    cells: Vec<String>,
}

fn rows() -> Vec<Row> {
    let page = fs::read_to_string(root().join("docs/spec.md")).unwrap();
    let mut heading = "";
    let mut rows = Vec::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title;
        } else if let Some(row) = line.strip_prefix("| ").and_then(|row| row.strip_suffix(" |")) {
            let cells = row.split(" | ").map(|cell| cell.trim().to_owned()).collect();
            rows.push(Row { heading: heading.to_owned(), cells });
        }
    }
    // The titles of the columns.
    rows.retain(|row| row.cells.last().is_some_and(|cell| cell != "tests"));
    rows
}

/// What a cell has between backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The tests of this tree, as `file::function`: those of tables, and those with `#[test]`.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in ["tests", "crates"] {
        collect(&root().join(folder), &mut found);
    }
    found
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = path.file_stem().unwrap().to_string_lossy().into_owned();
            let names = names(&fs::read_to_string(&path).unwrap());
            found.extend(names.into_iter().map(|name| format!("{file}::{name}")));
        }
    }
}

fn names(source: &str) -> Vec<String> {
    let table = source.split("\ntable! {\n").nth(1).and_then(|rest| rest.split("\n}").next());
    let listed = table.into_iter().flat_map(str::lines).filter_map(|line| line.split_once(": ["));
    let marked = source.split("#[test]\n").skip(1).filter_map(|after| {
        let function = after.split("fn ").nth(1)?;
        function.split_once('(')
    });
    listed.chain(marked).map(|(name, _)| name.trim().to_owned()).collect()
}

fn assert_none(problems: &[String], rule: &str) {
    assert!(problems.is_empty(), "docs/spec.md: {rule}:\n{}", problems.join("\n"));
}

#[test]
fn every_property_of_the_schemas_has_one_row_and_every_row_a_property() {
    let rows = rows();
    let mut problems = Vec::new();
    for (heading, schema, is_part) in HEADINGS {
        let mut demanded: BTreeSet<String> = schema
            .map(properties)
            .unwrap_or_default()
            .into_iter()
            .filter(|it| is_part(it))
            .collect();
        let prose = ONLY_IN_PROSE.iter().filter(|(section, _)| section == heading);
        demanded.extend(prose.flat_map(|(_, names)| names.iter().map(|name| (*name).to_owned())));
        assert!(demanded.len() >= 5, "{heading}: only {demanded:?}");
        for row in rows.iter().filter(|row| row.heading == *heading) {
            for name in quoted(&row.cells[0]) {
                if !demanded.remove(name) {
                    problems.push(format!("{heading}: {name} is no property, or has another row"));
                }
            }
        }
        problems.extend(demanded.iter().map(|name| format!("{heading}: {name} has no row")));
    }
    assert_none(&problems, "what the specification has");
}

#[test]
fn every_row_says_how_and_names_tests_that_exist() {
    let (rows, tests) = (rows(), tests());
    assert!(rows.len() > 100 && tests.len() > 500, "{} rows, {} tests", rows.len(), tests.len());
    let mut problems = Vec::new();
    for Row { heading, cells } in &rows {
        let name = format!("{heading}: {}", cells[0]);
        if cells.len() != 3 || cells.iter().any(String::is_empty) {
            problems.push(format!("{name}: a cell is empty, or there are not three"));
            continue;
        }
        let named = quoted(&cells[2]);
        if named.is_empty() {
            problems.push(format!("{name}: no test"));
        }
        let missing = named.iter().filter(|test| !tests.contains(**test));
        problems.extend(missing.map(|test| format!("{name}: there is no test {test}")));
    }
    assert_none(&problems, "rows");
}
