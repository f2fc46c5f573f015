//! The steps of a pattern: none where a scan does not suit it.

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

use super::{ByteClass, IN, OUT, ScanStep, UNSURE};

pub(super) fn compile_all(parts: &[Hir], steps: &mut Vec<ScanStep>) -> Option<()> {
    for (i, part) in parts.iter().enumerate() {
        if let HirKind::Repetition(repetition) = part.kind()
            && !repetition.greedy
        {
            let literal = parts.get(i + 1).and_then(leading_literal)?;
            let class = class_of(&repetition.sub)?;
            let min = repetition.min as usize;
            if repetition.max.is_some() {
                return None;
            }
            steps.push(ScanStep::Until { class, min, text: literal.into() });
        } else {
            compile(part, steps)?;
        }
    }
    Some(())
}

fn leading_literal(hir: &Hir) -> Option<&[u8]> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(&literal.0),
        HirKind::Capture(capture) => leading_literal(&capture.sub),
        HirKind::Concat(parts) => leading_literal(parts.first()?),
        _ => None,
    }
}

fn compile(hir: &Hir, steps: &mut Vec<ScanStep>) -> Option<()> {
    match hir.kind() {
        HirKind::Empty => {}
        HirKind::Literal(literal) => steps.push(ScanStep::Literal(literal.0.clone())),
        HirKind::Class(_) => steps.push(ScanStep::Run { class: class_of(hir)?, min: 1, max: 1 }),
        HirKind::Look(Look::End) => steps.push(ScanStep::End),
        HirKind::Look(_) => return None,
        HirKind::Repetition(repetition) => compile_repetition(repetition, steps)?,
        HirKind::Capture(capture) => {
            let slot = 2 * capture.index as usize;
            steps.push(ScanStep::Mark(slot));
            compile_all(std::slice::from_ref(&*capture.sub), steps)?;
            steps.push(ScanStep::Mark(slot + 1));
        }
        HirKind::Concat(parts) => compile_all(parts, steps)?,
        HirKind::Alternation(branches) => {
            let mut compiled = Vec::new();
            for branch in branches {
                let mut steps = Vec::new();
                compile_all(std::slice::from_ref(branch), &mut steps)?;
                compiled.push(steps);
            }
            steps.push(ScanStep::Branches(compiled));
        }
    }
    Some(())
}

fn compile_repetition(repetition: &Repetition, steps: &mut Vec<ScanStep>) -> Option<()> {
    if !repetition.greedy {
        return None;
    }
    if let Some(class) = class_of(&repetition.sub) {
        let max = repetition.max.map_or(usize::MAX, |max| max as usize);
        steps.push(ScanStep::Run { class, min: repetition.min as usize, max });
        return Some(());
    }
    let can_be_empty = repetition.sub.properties().minimum_len() == Some(0);
    if (repetition.min, repetition.max) != (0, Some(1)) || can_be_empty {
        return None;
    }
    let mut inner = Vec::new();
    compile_all(std::slice::from_ref(&*repetition.sub), &mut inner)?;
    steps.push(ScanStep::Optional(inner));
    Some(())
}

/// The class of what takes one byte, or one character, of ASCII.
fn class_of(hir: &Hir) -> Option<Box<ByteClass>> {
    let mut class = Box::new([OUT; 256]);
    match hir.kind() {
        HirKind::Literal(literal) => match literal.0[..] {
            [byte] => class[usize::from(byte)] = IN,
            _ => return None,
        },
        HirKind::Class(Class::Bytes(bytes)) => {
            for range in bytes.ranges() {
                class[usize::from(range.start())..=usize::from(range.end())].fill(IN);
            }
        }
        HirKind::Class(Class::Unicode(chars)) => {
            for range in chars.ranges() {
                let (start, end) = (range.start() as usize, range.end() as usize);
                if start < 0x80 {
                    class[start..=end.min(0x7f)].fill(IN);
                }
                if end >= 0x80 {
                    class[0x80..].fill(UNSURE);
                }
            }
        }
        _ => return None,
    }
    Some(class)
}
