//! Which stages a target needs: itself, and what is reachable from it by FROM and `--from`. Of two stages of one name the
//! last one before is meant. Pure.

use crate::dockerfile::{Instruction, Step, expand};

/// One stage of the file: the number of its FROM among the steps, and its name.
struct Stage<'a> {
    begin: usize,
    name: Option<&'a str>,
}

/// For each step up to the target's last whether it is needed, as those before the first FROM are; `None` when there is no
/// such target. Without a target the last stage is meant. `global` looks up the ARGs before the first FROM.
pub fn needed(
    steps: &[Step],
    target: Option<&str>,
    global: &dyn Fn(&str) -> Option<String>,
) -> Option<Vec<bool>> {
    let stages: Vec<Stage> = steps
        .iter()
        .enumerate()
        .filter_map(|(begin, step)| match &step.instruction {
            Instruction::From { name, .. } => Some(Stage { begin, name: name.as_deref() }),
            _ => None,
        })
        .collect();
    let last = match target {
        Some(target) => {
            let numbered = || target.parse().ok().filter(|number| *number < stages.len());
            stages.iter().rposition(|stage| is_named(target, stage.name)).or_else(numbered)?
        }
        None => stages.len().checked_sub(1)?,
    };
    let mut needed = vec![false; last + 1];
    needed[last] = true;
    // A stage asks for earlier ones only.
    for number in (0..=last).rev().filter(|number| *number > 0) {
        if !needed[number] {
            continue;
        }
        let end = stages.get(number + 1).map_or(steps.len(), |next| next.begin);
        for step in &steps[stages[number].begin..end] {
            let (text, takes_number) = match &step.instruction {
                Instruction::From { image, .. } => (expand(image, global).ok(), false),
                Instruction::Copy(transfer) => match &transfer.from {
                    // What variables of the stage say is known only when it is built.
                    Some(from) => ((!from.contains('$')).then(|| from.clone()), true),
                    None => continue,
                },
                _ => continue,
            };
            let Some(text) = text else {
                needed[..number].fill(true);
                continue;
            };
            let named = stages[..number].iter().rposition(|stage| is_named(&text, stage.name));
            let numbered = text.parse().ok().filter(|found| takes_number && *found < number);
            if let Some(found) = named.or(numbered) {
                needed[found] = true;
            }
        }
    }
    let end = stages.get(last + 1).map_or(steps.len(), |next| next.begin);
    let stage_of = |at: usize| stages.iter().rposition(|stage| stage.begin <= at);
    Some((0..end).map(|at| stage_of(at).is_none_or(|number| needed[number])).collect())
}

/// Whether `text` names the stage of this name.
pub fn is_named(text: &str, name: Option<&str>) -> bool {
    name == Some(text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_needs_what_from_reaches() {
        let text = "ARG BASE=B\nFROM scratch AS a\nFROM scratch AS b\nFROM $BASE AS c\nFROM scratch AS d\nCOPY --from=0 x /\n\
            FROM scratch AS e\nARG S=a\nCOPY --from=$S x /\nFROM scratch AS f\nCOPY --from=d x /\nCOPY --from=a.lan/image x /\n";
        let steps = crate::dockerfile::parse(text).unwrap();
        let global = |name: &str| (name == "BASE").then(|| "B".to_string());
        for (target, expected) in [
            (Some("a"), Some("a")),
            (Some("C"), Some("bc")),
            (Some("3"), Some("ad")),
            (Some("e"), Some("abcde")),
            (None, Some("adf")),
            (Some("x"), None),
            (Some("6"), None),
        ] {
            let found = needed(&steps, target, &global).map(|needed| {
                let kept = steps.iter().zip(needed).filter(|(_, needed)| *needed);
                let names = kept.filter_map(|(step, _)| match &step.instruction {
                    Instruction::From { name, .. } => name.clone(),
                    _ => None,
                });
                names.collect::<String>()
            });
            assert_eq!(found, expected.map(str::to_string), "{target:?}");
        }
    }

    #[test]
    fn of_two_stages_of_one_name_the_last_before_is_needed() {
        let text = "FROM scratch AS a\nFROM scratch AS a\nFROM a AS b\nFROM scratch AS a\nFROM scratch\nCOPY --from=a x /\n";
        let steps = crate::dockerfile::parse(text).unwrap();
        for (target, expected) in [("b", "0 1 1"), ("a", "0 0 0 1"), ("4", "0 0 0 1 1 1"), ("0", "1")] {
            let found = needed(&steps, Some(target), &|_| None).unwrap();
            let found: Vec<String> = found.iter().map(|needed| u8::from(*needed).to_string()).collect();
            assert_eq!(found.join(" "), expected, "{target}");
        }
    }
}
