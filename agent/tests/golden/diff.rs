//! Two texts in, the lines that differ out, with some that do not around them.

/// Equal lines shown around the difference.
const CONTEXT: usize = 3;

pub(crate) fn of(expect: &str, shown: &str) -> String {
    // A line that is not ended is another than one that is.
    let expect: Vec<_> = expect.split('\n').collect();
    let shown: Vec<_> = shown.split('\n').collect();
    let same = |(expect, shown): &(&&str, &&str)| expect == shown;
    let head = expect.iter().zip(&shown).take_while(same).count();
    let room = expect.len().min(shown.len()) - head;
    let reversed = expect.iter().rev().zip(shown.iter().rev());
    let tail = reversed.take(room).take_while(same).count();

    let before = expect.iter().take(head).skip(head.saturating_sub(CONTEXT));
    let removed = expect.iter().take(expect.len() - tail).skip(head);
    let added = shown.iter().take(shown.len() - tail).skip(head);
    let after = expect.iter().skip(expect.len() - tail).take(CONTEXT);
    let lines = before.map(|line| ("  ", line)).chain(removed.map(|line| ("- ", line)));
    let lines = lines.chain(added.map(|line| ("+ ", line))).chain(after.map(|line| ("  ", line)));
    lines.map(|(mark, line)| format!("{mark}{line}\n")).collect()
}

#[test]
fn shows_what_differs() {
    let diff = of("1\n2\n3\n4\nold\n5\n6\n7\n8\n", "1\n2\n3\n4\nnew\nnewer\n5\n6\n7\n8\n");
    assert_eq!(diff, "  2\n  3\n  4\n- old\n+ new\n+ newer\n  5\n  6\n  7\n");
    assert_eq!(of("a\na\n", "a\na\na\n"), "  a\n  a\n+ a\n  \n");
    assert_eq!(of("a", "a\n"), "  a\n+ \n");
}
