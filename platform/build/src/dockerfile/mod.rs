//! A Dockerfile as a list of instructions with their lines. Pure.

mod expand;
mod health_check;
mod instruction;
mod lines;
mod words;

pub use expand::expand;
pub use instruction::{Command, Instruction, Transfer, parse as parse_instruction};
use lines::lines;

/// A message and the line it is about.
#[derive(Debug, PartialEq, Eq)]
pub struct ParseError {
    pub line: usize,
    pub message: String,
}

/// One instruction of the file.
#[derive(Debug)]
pub struct Step {
    /// The number of its first line.
    pub line: usize,
    /// All of it, its lines joined.
    pub text: String,
    pub instruction: Instruction,
}

/// Reads the whole file; the first mistake ends it.
pub fn parse(text: &str) -> Result<Vec<Step>, ParseError> {
    let steps = lines(text).into_iter().map(|line| match instruction::parse(&line.text) {
        Ok(instruction) => Ok(Step { line: line.number, text: line.text, instruction }),
        Err(message) => Err(ParseError { line: line.number, message }),
    });
    let steps: Vec<_> = steps.collect::<Result<_, ParseError>>()?;
    match steps.iter().find(|step| !matches!(step.instruction, Instruction::Arg(_))) {
        Some(Step { instruction: Instruction::From { .. }, .. }) => Ok(steps),
        Some(step) => Err(ParseError {
            line: step.line,
            message: "no build stage in current context: the first instruction must be FROM".into(),
        }),
        None => Err(ParseError { line: 1, message: "the Dockerfile has no FROM".into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> (usize, String) {
        let error = parse(text).unwrap_err();
        (error.line, error.message)
    }

    #[test]
    fn what_is_not_supported_is_an_error_with_its_line() {
        let cases = [
            ("FROM scratch\n\nRUN <<EOF\nmake\nEOF\n", 3, "RUN is not supported yet"),
            (
                "FROM scratch\nONBUILD ONBUILD COPY . .\n",
                2,
                "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
            ),
            ("FROM scratch\nONBUILD from x\n", 2, "FROM isn't allowed as an ONBUILD trigger"),
            ("FROM scratch\nCOPY <<EOF /x\nhi\nEOF\n", 2, "here-documents are not supported yet"),
            ("FROM scratch\nHEALTHCHECK NONE\nHEALTHCHECK CMD\n", 3, "Missing command after HEALTHCHECK CMD"),
            ("FROM scratch\nENV A=1 =x\n", 2, "ENV names can not be blank"),
            ("FROM scratch\nLABEL =x\n", 2, "LABEL names can not be blank"),
            ("ARG =x\nFROM scratch\n", 1, "ARG names can not be blank"),
            ("FROM scratch\nCOPPY a b\n", 2, "unknown instruction: COPPY"),
            ("FROM scratch\nCOPY a\n", 2, "COPY requires at least two arguments, but only one was provided"),
            ("FROM scratch\nCOPY --nothing=1 a b\n", 2, "unknown flag: --nothing"),
            ("COPY a b\n", 1, "no build stage in current context"),
            ("", 1, "the Dockerfile has no FROM"),
        ];
        for (text, line, part) in cases {
            let (found, said) = message(text);
            assert!(found == line && said.contains(part), "{text:?}: line {found}: {said}");
        }
    }

    #[test]
    fn instructions_are_read_in_both_forms() {
        let parsed = parse(
            "FROM scratch AS base\nENV A=1 B=\"two words\"\nENV C three words\nCMD [\"/app\", \"-v\"]\nENTRYPOINT exec /app\n",
        );
        let kinds: Vec<_> = parsed.unwrap().into_iter().map(|step| step.instruction).collect();
        let pair = |key: &str, value: &str| (key.to_string(), value.to_string());
        assert_eq!(
            kinds,
            [
                Instruction::From { image: "scratch".into(), name: Some("base".into()), platform: None },
                Instruction::Env(vec![pair("A", "1"), pair("B", "\"two words\"")]),
                Instruction::Env(vec![pair("C", "three words")]),
                Instruction::Cmd(Command::Exec(vec!["/app".into(), "-v".into()])),
                Instruction::Entrypoint(Command::Shell("exec /app".into())),
            ]
        );
    }
}
