//! The ladder under loads that are made up: what agents take, second by second.

use super::{Cause, Ladder, Level, Limits, Memory, Reached, Step, TooSmall, Usage};

const HOUR: u32 = 3_600;
const MIB: u64 = 1 << 20;

const CPU: Limits = Limits { cpu: Some(0.5), memory: None };

/// Lets so many seconds pass, with the usage that a level has at a second.
fn run(
    ladder: &mut Ladder,
    seconds: std::ops::Range<u32>,
    usage: impl Fn(Level, u32) -> Usage,
) -> Vec<(u32, Step)> {
    let mut level = Level::Full;
    let mut steps = Vec::new();
    for second in seconds {
        if let Some(step) = ladder.tick(usage(level, second)) {
            assert_eq!(step.from, level);
            level = step.to;
            steps.push((second, step));
        }
    }
    steps
}

fn cpu(cpu: f64) -> Usage {
    Usage { cpu, memory: 0 }
}

/// What a load takes that takes so much at the lowest level.
fn load(full: f64) -> impl Fn(Level, u32) -> Usage {
    move |level, _| {
        cpu(match level {
            Level::Full => full,
            Level::Headers => full * 0.2,
            Level::Sampled => full * 0.1,
            Level::Detached => 0.0,
        })
    }
}

fn levels(steps: &[(u32, Step)]) -> Vec<Level> {
    steps.iter().map(|(_, step)| step.to).collect()
}

/// The most steps in any hour.
fn busiest(steps: &[(u32, Step)]) -> usize {
    let times: Vec<_> = steps.iter().map(|(second, _)| *second).collect();
    let within = |start: u32| times.iter().filter(|at| (start..start + HOUR).contains(at)).count();
    times.iter().map(|start| within(*start)).max().unwrap_or_default()
}

#[test]
fn a_light_load_changes_nothing() {
    assert_eq!(run(&mut Ladder::new(CPU), 0..10 * HOUR, load(0.49)), []);
    let none = Limits::default();
    assert_eq!(run(&mut Ladder::new(none), 0..HOUR, load(64.0)), []);
}

#[test]
fn one_second_is_no_overload() {
    let spikes = |_, second: u32| cpu(if second.is_multiple_of(10) { 0.9 } else { 0.05 });
    assert_eq!(run(&mut Ladder::new(CPU), 0..HOUR, spikes), []);
}

#[test]
fn overload_goes_step_by_step_as_far_as_it_must() {
    let first = |full| levels(&run(&mut Ladder::new(CPU), 0..7, load(full)));
    assert_eq!(first(1.0), [Level::Headers]);
    assert_eq!(first(3.0), [Level::Headers, Level::Sampled]);
    assert_eq!(first(30.0), [Level::Headers, Level::Sampled, Level::Detached]);
    let steps = run(&mut Ladder::new(CPU), 0..3, load(1.0));
    let [(second, step)] = steps[..] else { panic!("{steps:?}") };
    assert_eq!((second, step.cause, step.usage.cpu), (1, Cause::Cpu, 1.0));
}

#[test]
fn constant_overload_does_not_flap() {
    for full in [0.51, 1.0, 1.7, 4.0, 30.0] {
        let steps = run(&mut Ladder::new(CPU), 0..10 * HOUR, load(full));
        assert!(busiest(&steps) <= 40, "{} steps in an hour of {full}", busiest(&steps));
        let late = steps.iter().filter(|(second, _)| *second >= 9 * HOUR).count();
        assert!(late <= 24, "{late} steps in the tenth hour of {full}");
    }
    let steps = run(&mut Ladder::new(CPU), 0..HOUR, load(1.0));
    assert!(steps.len() > 20, "{} steps: it was not tried whether all can be copied", steps.len());
}

/// The worst that a load can do: it waits until all is copied again, or until relapses are forgotten.
#[test]
fn no_load_makes_it_flap() {
    let hostile: [fn(Level, u32) -> Usage; 3] = [
        |level, _| cpu(if level == Level::Full { 30.0 } else { 0.0 }),
        |_, second| cpu(if second % 640 < 8 { 30.0 } else { 0.0 }),
        |level, second| cpu(if level == Level::Full && second % 601 > 30 { 30.0 } else { 0.2 }),
    ];
    for usage in hostile {
        let steps = run(&mut Ladder::new(CPU), 0..24 * HOUR, usage);
        assert!(busiest(&steps) <= 60, "{} steps in an hour", busiest(&steps));
    }
}

#[test]
fn all_is_copied_again_when_the_load_is_gone() {
    for (full, most) in [(1.0, 10), (3.0, 20), (30.0, 30)] {
        let mut ladder = Ladder::new(CPU);
        let steps = run(&mut ladder, 0..HOUR, |level, second| {
            if second < 8 { load(full)(level, second) } else { cpu(0.01) }
        });
        let (second, last) = steps.last().copied().unwrap();
        assert_eq!(last.to, Level::Full, "{full}");
        assert!(second < 8 + most, "{second} seconds for {full}");
        assert!(steps.iter().rev().all(|(_, step)| step.usage.cpu >= 0.0));
    }
}

#[test]
fn after_hours_of_overload_too_but_later() {
    let steps = run(&mut Ladder::new(CPU), 0..5 * HOUR, |level, second| {
        if second < 4 * HOUR { load(30.0)(level, second) } else { cpu(0.01) }
    });
    let (second, last) = steps.last().copied().unwrap();
    assert_eq!(last.to, Level::Full);
    assert!((4 * HOUR + 300..4 * HOUR + 930).contains(&second), "{second}");
}

#[test]
fn a_long_calm_makes_relapses_forgotten() {
    let calm = HOUR..2 * HOUR;
    let steps = run(&mut Ladder::new(CPU), 0..2 * HOUR + 100, |level, second| {
        if calm.contains(&second) { cpu(0.01) } else { load(1.0)(level, second) }
    });
    let again = steps.iter().filter(|(second, _)| *second >= 2 * HOUR).collect::<Vec<_>>();
    let [(up, _), (down, _), ..] = again[..] else { panic!("{again:?}") };
    assert!(down - up <= 7, "{up} to {down}: the hold is long");
}

#[test]
fn memory_alone_and_beside_processors() {
    let limits = Limits { cpu: Some(0.5), memory: Some(100 * MIB) };
    let grown = |memory: u64| Usage { cpu: 0.01, memory: memory * MIB };
    let steps = run(&mut Ladder::new(limits), 0..100, |level, second| match level {
        Level::Full if second < 50 => grown(150),
        Level::Headers => grown(90),
        _ => grown(70),
    });
    // Neither above nor well below: it stays.
    let [(_, step)] = steps[..] else { panic!("{steps:?}") };
    assert_eq!((step.to, step.cause), (Level::Headers, Cause::Memory));
    let steps = run(&mut Ladder::new(limits), 0..100, |_, second| match second {
        0..20 => grown(150),
        20.. => grown(70),
    });
    assert_eq!(steps.last().unwrap().1.to, Level::Full);
}

/// What is kept does not become less by trying.
#[test]
fn detached_stays_while_memory_is_above_its_limit() {
    let limits = Limits { cpu: None, memory: Some(100 * MIB) };
    let steps = run(&mut Ladder::new(limits), 0..HOUR, |_, second| {
        let memory = if second < 1_000 { 150 } else { 70 };
        Usage { cpu: 0.0, memory: memory * MIB }
    });
    let (second, back) = steps[3];
    assert_eq!((second, back.from, back.cause), (1_000, Level::Detached, Cause::Trial));
}

#[test]
fn putting_probes_on_again_is_not_judged() {
    // The seconds behind the trial take all there is.
    let attaching = std::cell::Cell::new(0);
    let steps = run(&mut Ladder::new(CPU), 0..60, |level, second| {
        if level == Level::Detached {
            attaching.set(second);
        }
        cpu(if second < 6 || second <= attaching.get() + 2 { 30.0 } else { 0.0 })
    });
    let expect = [
        Level::Headers,
        Level::Sampled,
        Level::Detached,
        Level::Sampled,
        Level::Headers,
        Level::Full,
    ];
    assert_eq!(levels(&steps), expect);
}

#[test]
fn a_step_says_what_it_means() {
    let limits = Limits { cpu: Some(0.5), memory: Some(256 * MIB) };
    let usage = Usage { cpu: 1.318, memory: 88 * MIB };
    let mut step = Step { from: Level::Full, to: Level::Headers, cause: Cause::Cpu, usage, limits };
    assert_eq!(
        step.to_string(),
        "headers: only the first 1024 B of each call are copied (cpu: 1.32 of 0.50 processors, \
         88 of 256 MiB)"
    );
    (step.from, step.to, step.cause) = (Level::Detached, Level::Sampled, Cause::Trial);
    step.limits = Limits::default();
    assert_eq!(
        step.to_string(),
        "sampled: probes are put on again, one process in four is copied (trial: 1.32 processors, \
         88 MiB)"
    );
}

#[test]
fn what_was_reached_is_counted() {
    let reached = Reached::default();
    assert!(reached.is_at(Level::Full));
    assert_eq!(reached.to_string(), "");
    for level in [Level::Headers, Level::Sampled, Level::Headers, Level::Full, Level::Headers] {
        reached.reach(level);
    }
    assert!(reached.is_at(Level::Headers));
    assert_eq!(reached.to_string(), ", limited: 3 headers, 1 sampled");
}

#[test]
fn a_ceiling_is_shared_or_refused() {
    let (ring, unbound) = (8 << 20, Memory::below(None, 8 << 20, 2).unwrap());
    assert_eq!(unbound, Memory { queue: 64 << 20, decoders: 128 << 20 });
    let small = Memory::below(Some(128 * MIB), ring, 2).unwrap();
    assert_eq!(small, Memory { queue: 8 << 20, decoders: 8 << 20 });
    assert_eq!(Memory::below(Some(8_000 * MIB), ring, 1), Ok(unbound));
    let refused = Memory::below(Some(79 * MIB), ring, 1).unwrap_err();
    assert!(refused.to_string().contains("at least 80 MiB are needed"), "{refused}");
    assert!(Memory::below(Some(80 * MIB), ring, 1).is_ok());
    assert!(matches!(Memory::below(Some(0), ring, 1), Err(TooSmall { .. })));
}
