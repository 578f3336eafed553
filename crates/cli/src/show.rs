//! A program's settings for people to read: everything but the secrets.

use toml::{Table, Value};

use crate::Program;

const HIDDEN: &str = "******";

/// Whether a key's value must not be shown.
fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["password", "secret", "token"].iter().any(|word| key.contains(word))
}

/// Hides what is secret, at any depth. An empty secret is shown: that there is none is no secret.
fn hide(value: &mut Value) {
    match value {
        Value::Table(table) => {
            for (key, value) in table.iter_mut() {
                let empty = value.as_str().is_some_and(str::is_empty);
                if is_secret(key) && !empty { *value = Value::String(HIDDEN.to_owned()) } else { hide(value) }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide),
        _ => {}
    }
}

/// The table without its secrets.
pub(crate) fn without_secrets(table: &Table) -> Table {
    let mut value = Value::Table(table.clone());
    hide(&mut value);
    match value {
        Value::Table(table) => table,
        _ => Table::new(),
    }
}

/// A file that means the same as the given settings; what has no place in a file stands in comments.
pub(crate) fn as_file(program: &Program, table: &Table) -> Result<String, toml::ser::Error> {
    let mut table = without_secrets(table);
    let mut text = format!(
        "# The settings of {} as they are laid together. What is not shown has its default; secrets are hidden.\n",
        program.name
    );
    for flag in program.flags.iter().filter(|flag| flag.key.is_empty()) {
        if let Some(value) = table.remove(flag.name) {
            text.push_str(&format!("# -{}={value}\n", flag.name));
        }
    }
    text.push_str(&toml::to_string(&table)?);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_at_any_depth() {
        let table: Table =
            "user = 'u'\npassword = 'p'\n[to]\nencrypted_password = 'q'\n[[to.hosts]]\nPassWord = ''\n[[to.hosts]]\nPassWord = 'r'"
                .parse()
                .unwrap();
        let shown = without_secrets(&table).to_string();
        for secret in ["'p'", "\"p\"", "\"q\"", "\"r\""] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("PassWord = \"\"") && shown.contains("user = \"u\""), "{shown}");
    }
}
