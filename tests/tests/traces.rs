//! Traces of the model in `spec/model`, played on the shipped functions: each step must do what the model says.

use coatroom_tests::traces::{Limits, Player, Step};
use coatroom_tests::traces_walk::record;

/// Plays one trace; how many steps it had, or where it differs.
fn play(trace: &str) -> Result<usize, String> {
    let mut lines = trace.lines();
    let mut log = lines.next().unwrap_or_default().to_owned();
    let mut player = Player::new(Limits::read(&log).ok_or_else(|| format!("no limits: {log}"))?);
    let mut steps = 0;
    for line in lines {
        log += &format!("\n{line}");
        let (step, model) = line.split_once('\t').ok_or_else(|| format!("not a step: {line}"))?;
        let step = Step::read(step).ok_or_else(|| format!("no such step: {step}"))?;
        let code = player.step(&step);
        steps += 1;
        if code.as_deref() != Ok(model) {
            return Err(format!("{log}\nthe code says\n\t{}\n", code.unwrap_or_else(|error| error)));
        }
    }
    Ok(steps)
}

/// Plays every trace of a text; says how many traces and steps there were.
fn replay(text: &str) -> Result<(usize, usize), String> {
    let (mut traces, mut steps, mut different) = (0, 0, Vec::new());
    for trace in text.split("\nlimits ").map(|trace| format!("limits {}", trace.trim_start_matches("limits "))) {
        traces += 1;
        match play(&trace) {
            Ok(played) => steps += played,
            Err(difference) => different.push(difference),
        }
    }
    if different.is_empty() {
        return Ok((traces, steps));
    }
    let first = different[..different.len().min(3)].join("\n");
    Err(format!("{first}\n{} of {traces} traces differ", different.len()))
}

/// `spec/traces model` hands in more traces than are kept here.
#[test]
fn what_the_model_does_the_code_does() {
    let Some(path) = std::env::var_os("COATROOM_TRACES_PLAY") else { return };
    match replay(&std::fs::read_to_string(path).unwrap()) {
        Ok((traces, steps)) => println!("{traces} traces, {steps} steps, 0 differ"),
        Err(difference) => panic!("{difference}"),
    }
}

/// `spec/traces code` asks for traces to show to the model.
#[test]
fn what_the_code_does_is_written_down() {
    let Ok(range) = std::env::var("COATROOM_TRACES_RECORD") else { return };
    let (from, to) = range.split_once("..").unwrap();
    let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
    let text: String = (from..to).map(record).collect();
    std::fs::write(std::env::var_os("COATROOM_TRACES_OUT").unwrap(), text).unwrap();
}
