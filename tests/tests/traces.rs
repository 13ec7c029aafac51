//! Traces of the model in `spec/model`, played on the shipped functions: each step must do what the model says.

use coatroom_tests::traces::{Limits, Player, Step};

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

#[test]
fn the_code_does_what_the_model_does() {
    let path = std::env::var("COATROOM_TRACES").unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    match replay(&text) {
        Ok((traces, steps)) => println!("{traces} traces, {steps} steps"),
        Err(difference) => panic!("{difference}"),
    }
}
