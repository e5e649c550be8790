//! JSON Schema (draft 4), as far as the schemas of the runtime specification use it: what is not known here is an error.
//!
//! Runs in: any process.

use std::fs;
use std::path::Path;

use libtest_mimic::Failed;
use serde_json::{Map, Value};

/// Everything that is wrong with `value` by a schema of tests/schemas, each with its JSON pointer.
pub fn problems(schema: &str, value: &Value) -> Result<Vec<String>, Failed> {
    let mut check = Check { problems: Vec::new() };
    let document = Document::load(schema)?;
    check.value(&document, &document.root, value, "")?;
    Ok(check.problems)
}

/// One of the schemas as it is.
pub fn read(schema: &str) -> Result<Value, Failed> {
    Ok(Document::load(schema)?.root)
}

/// One of the files, by which references in it are resolved.
struct Document {
    root: Value,
}

impl Document {
    fn load(name: &str) -> Result<Self, Failed> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas");
        let text = fs::read(folder.join(name)).map_err(|error| format!("{name}: {error}"))?;
        Ok(Self { root: serde_json::from_slice(&text)? })
    }
}

struct Check {
    problems: Vec<String>,
}

impl Check {
    fn value(
        &mut self,
        document: &Document,
        schema: &Value,
        value: &Value,
        at: &str,
    ) -> Result<(), Failed> {
        let schema = schema.as_object().ok_or("a schema that is no object")?;
        for (keyword, rule) in schema {
            match keyword.as_str() {
                "$ref" => self.reference(document, rule, value, at)?,
                "type" => self.require(has_type(rule, value)?, at, rule, value),
                "enum" => {
                    let words = rule.as_array().ok_or("enum")?;
                    self.require(words.contains(value), at, rule, value);
                }
                "pattern" => {
                    let matches = value.as_str().map_or(Ok(true), |text| matches(rule, text))?;
                    self.require(matches, at, rule, value);
                }
                "minimum" => self.require(in_order(rule, value), at, rule, value),
                "maximum" => self.require(in_order(value, rule), at, rule, value),
                "minItems" => {
                    let count = value.as_array().map_or(usize::MAX, Vec::len);
                    let enough = rule.as_u64().is_some_and(|least| count as u64 >= least);
                    self.require(enough, at, rule, value);
                }
                "required" => self.required(rule, value, at),
                "properties" => self.members(document, rule, value, at, |_| false)?,
                "patternProperties" => self.any_members(document, rule, value, at)?,
                "additionalProperties" => self.additional(document, schema, rule, value, at)?,
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.value(document, rule, item, &format!("{at}/{index}"))?;
                    }
                }
                "allOf" => {
                    for one in rule.as_array().into_iter().flatten() {
                        self.value(document, one, value, at)?;
                    }
                }
                "anyOf" => self.any_of(document, rule, value, at)?,
                "description" | "$schema" | "definitions" | "id" => {}
                other => return Err(format!("{at}: keyword {other:?} is not known here").into()),
            }
        }
        Ok(())
    }

    fn require(&mut self, is_met: bool, at: &str, rule: &Value, value: &Value) {
        if !is_met {
            self.problems.push(format!("{at}: {value} is not {rule}"));
        }
    }

    fn reference(
        &mut self,
        document: &Document,
        rule: &Value,
        value: &Value,
        at: &str,
    ) -> Result<(), Failed> {
        let (file, pointer) = rule.as_str().and_then(|it| it.split_once('#')).ok_or("a $ref")?;
        let other = if file.is_empty() { None } else { Some(Document::load(file)?) };
        let document = other.as_ref().unwrap_or(document);
        let schema = document.root.pointer(pointer).ok_or_else(|| format!("no {rule}"))?;
        self.value(document, schema, value, at)
    }

    fn required(&mut self, rule: &Value, value: &Value, at: &str) {
        let Some(object) = value.as_object() else { return };
        for name in rule.as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                self.problems.push(format!("{at}: has no {name}"));
            }
        }
    }

    fn members(
        &mut self,
        document: &Document,
        rule: &Value,
        value: &Value,
        at: &str,
        skip: impl Fn(&str) -> bool,
    ) -> Result<(), Failed> {
        let (Some(rules), Some(object)) = (rule.as_object(), value.as_object()) else {
            return Ok(());
        };
        for (name, schema) in rules.iter().filter(|(name, _)| !skip(name)) {
            if let Some(member) = object.get(name) {
                self.value(document, schema, member, &format!("{at}/{name}"))?;
            }
        }
        Ok(())
    }

    /// The only pattern that there is takes every name.
    fn any_members(
        &mut self,
        document: &Document,
        rule: &Value,
        value: &Value,
        at: &str,
    ) -> Result<(), Failed> {
        let schema = rule.get(".{1,}").ok_or("a pattern of names that is not known here")?;
        for (name, member) in value.as_object().into_iter().flatten() {
            self.value(document, schema, member, &format!("{at}/{name}"))?;
        }
        Ok(())
    }

    fn additional(
        &mut self,
        document: &Document,
        schema: &Map<String, Value>,
        rule: &Value,
        value: &Value,
        at: &str,
    ) -> Result<(), Failed> {
        let declared = schema.get("properties").and_then(Value::as_object);
        for (name, member) in value.as_object().into_iter().flatten() {
            match rule {
                _ if declared.is_some_and(|declared| declared.contains_key(name)) => {}
                Value::Bool(true) => {}
                Value::Bool(false) => self.problems.push(format!("{at}/{name}: is not known")),
                rule => self.value(document, rule, member, &format!("{at}/{name}"))?,
            }
        }
        Ok(())
    }

    fn any_of(
        &mut self,
        document: &Document,
        rule: &Value,
        value: &Value,
        at: &str,
    ) -> Result<(), Failed> {
        for one in rule.as_array().into_iter().flatten() {
            let mut check = Self { problems: Vec::new() };
            check.value(document, one, value, at)?;
            if check.problems.is_empty() {
                return Ok(());
            }
        }
        self.problems.push(format!("{at}: {value} is none of {rule}"));
        Ok(())
    }
}

fn has_type(rule: &Value, value: &Value) -> Result<bool, Failed> {
    Ok(match rule.as_str().ok_or("type")? {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => return Err(format!("type {other:?} is not known here").into()),
    })
}

fn in_order(least: &Value, most: &Value) -> bool {
    let number =
        |value: &Value| value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    match (number(least), number(most)) {
        (Some(least), Some(most)) => least <= most,
        // Not a number: the type says so.
        _ => true,
    }
}

/// The patterns that the schemas have for what corten prints.
fn matches(pattern: &Value, text: &str) -> Result<bool, Failed> {
    let name = |prefix: &str, others: &str| {
        text.strip_prefix(prefix).is_some_and(|rest| {
            !rest.is_empty() && rest.chars().all(|c| c.is_ascii_uppercase() || others.contains(c))
        })
    };
    Ok(match pattern.as_str().ok_or("pattern")? {
        "^CAP_[A-Z_]+$" => name("CAP_", "_"),
        "^RLIMIT_[A-Z]+$" => name("RLIMIT_", ""),
        "^[cbup]$" => matches!(text, "c" | "b" | "u" | "p"),
        other => return Err(format!("pattern {other:?} is not known here").into()),
    })
}
