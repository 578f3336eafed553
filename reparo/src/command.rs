//! The first word of the command line.

use std::ffi::OsString;

use binlog_cli::Program;

use crate::flags;

/// What is asked for. Without a first word it is what the original does: restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `reparo -flags`: restore.
    Restore,
    /// `reparo plan -flags`: what a restore with the same flags would do.
    Plan,
    /// `reparo undo -flags`: the reverse of a range.
    Undo,
    /// `reparo look -flags`: the changes of rows.
    Look,
    /// `reparo activity -flags`: what changed when.
    Activity,
    /// `reparo prove -flags`: counts, digests, and a comparison.
    Prove,
}

impl Command {
    /// Takes the first word off the arguments. A word that is no command stays, for the flags to complain about. `-rollback` in place of a
    /// word is `undo`.
    pub fn split(args: impl IntoIterator<Item = OsString>) -> (Self, Vec<OsString>) {
        let mut args: Vec<OsString> = args.into_iter().collect();
        let command = match args.first().and_then(|word| word.to_str()) {
            Some("plan") => Command::Plan,
            Some("undo") => Command::Undo,
            Some("look") => Command::Look,
            Some("activity") => Command::Activity,
            Some("prove") => Command::Prove,
            _ => {
                let rollback = |arg: &OsString| matches!(arg.to_str(), Some("-rollback" | "--rollback"));
                let given = args.len();
                args.retain(|arg| !rollback(arg));
                let command = if args.len() < given { Command::Undo } else { Command::Restore };
                return (command, args);
            }
        };
        args.remove(0);
        (command, args)
    }

    /// Its flags and its help.
    pub fn program(self) -> &'static Program {
        match self {
            Command::Restore => &flags::PROGRAM,
            Command::Plan => &flags::PLAN,
            Command::Undo => &flags::UNDO,
            Command::Look => &flags::LOOK,
            Command::Activity => &flags::ACTIVITY,
            Command::Prove => &flags::PROVE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_word_is_a_command() {
        let split = |args: &[&str]| Command::split(args.iter().map(OsString::from));
        assert_eq!(split(&[]), (Command::Restore, vec![]));
        assert_eq!(split(&["plan", "-c", "1"]), (Command::Plan, vec!["-c".into(), "1".into()]));
        let undo = (Command::Undo, vec!["-from-pump".into(), "-txn=5".into()]);
        assert_eq!(split(&["-from-pump", "-rollback", "-txn=5"]), undo);
        assert_eq!(split(&["undo", "-from-pump", "-txn=5"]), undo);
        let (command, rest) = split(&["-dest-path", "plan"]);
        assert_eq!((command, rest.len()), (Command::Restore, 2));
        let (command, rest) = split(&["plans"]);
        assert_eq!((command, rest.len()), (Command::Restore, 1));
        assert!(command.program().load::<crate::Config>(rest, |_| None).is_err());
    }
}
