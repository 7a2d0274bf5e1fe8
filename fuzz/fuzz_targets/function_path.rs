//! Whatever a peer calls: a path that is taken has steps that make it up again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palm::message::Path;

fuzz_target!(|input: (&str, i64)| {
    let (text, stage) = input;
    let Ok(path) = Path::parse(text) else {
        return;
    };
    assert!(path.len() >= 1);
    let steps: Vec<String> = (0..path.len())
        .map(|stage| {
            path.step(stage as i64)
                .expect("a step is missing")
                .to_string()
        })
        .collect();
    assert_eq!(steps.join(" "), text);
    let inside = usize::try_from(stage).is_ok_and(|stage| stage < path.len());
    assert_eq!(path.step(stage).is_ok(), inside || path.len() == 1);
});
