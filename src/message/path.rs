//! The function path: `server.function`, or several steps separated by single spaces.

use std::fmt;

use crate::error::{Error, Result, shown};

/// One step of a path: a function of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// The name of the server.
    pub server: &'a str,
    /// The name of its function.
    pub function: &'a str,
}

impl<'a> Step<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (server, function) = text.split_once('.')?;
        (is_name(server) && is_name(function)).then_some(Self { server, function })
    }
}

/// Whether this can be the name of a server in a path, or of a function.
pub(crate) fn is_name(text: &str) -> bool {
    // pylm takes any white space for the end of a step, and Python more of it than Unicode.
    let odd = |c: char| c == '.' || c.is_whitespace() || c.is_control();
    !text.is_empty() && !text.contains(odd)
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.server, self.function)
    }
}

/// What a call asks for: a function path, or its steps one by one.
///
/// Made of a text such as `server.function`, or of a list of those, which it joins.
///
/// ```
/// use palm::Steps;
/// assert_eq!(Steps::from("a.b c.d"), Steps::from(["a.b", "c.d"]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Steps(String);

impl Steps {
    fn join<S: AsRef<str>>(steps: &[S]) -> Self {
        let steps: Vec<&str> = steps.iter().map(AsRef::as_ref).collect();
        Self(steps.join(" "))
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

impl From<&str> for Steps {
    fn from(path: &str) -> Self {
        Self(path.to_owned())
    }
}

impl From<&String> for Steps {
    fn from(path: &String) -> Self {
        Self(path.clone())
    }
}

impl From<String> for Steps {
    fn from(path: String) -> Self {
        Self(path)
    }
}

impl<S: AsRef<str>, const N: usize> From<[S; N]> for Steps {
    fn from(steps: [S; N]) -> Self {
        Self::join(&steps)
    }
}

impl<S: AsRef<str>> From<&[S]> for Steps {
    fn from(steps: &[S]) -> Self {
        Self::join(steps)
    }
}

impl<S: AsRef<str>> From<Vec<S>> for Steps {
    fn from(steps: Vec<S>) -> Self {
        Self::join(&steps)
    }
}

impl<S: AsRef<str>> From<&Vec<S>> for Steps {
    fn from(steps: &Vec<S>) -> Self {
        Self::join(steps)
    }
}

/// The steps that a message takes, checked once and then read without further errors.
///
/// pylm implementations disagree on names with more than one dot and on stages past the last
/// step (some end on them), so both are refused here.
///
/// ```
/// use palm::message::Path;
/// let path = Path::parse("server.double pipeline.print").unwrap();
/// assert_eq!(path.len(), 2);
/// assert_eq!(path.step(1).unwrap().server, "pipeline");
/// assert!(path.step(2).is_err());
/// assert!(Path::parse("no dot").is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    text: &'a str,
    steps: usize,
}

impl<'a> Path<'a> {
    /// Checks a path. Does not allocate.
    ///
    /// # Errors
    /// [`Error::Path`], which says what is wrong.
    pub fn parse(text: &'a str) -> Result<Self> {
        let error = |reason| {
            Err(Error::Path {
                path: shown(text),
                reason,
            })
        };
        if text.is_empty() {
            return error("it is empty");
        }
        let mut steps = 0;
        for step in text.split(' ') {
            if step.is_empty() {
                return error("steps are separated by single spaces");
            }
            if Step::parse(step).is_none() {
                return error("a step is SERVER.FUNCTION, with one dot and no white space");
            }
            steps += 1;
        }
        Ok(Self { text, steps })
    }

    /// A path that was found to have so many steps.
    pub(super) fn checked(text: &'a str, steps: usize) -> Self {
        Self { text, steps }
    }

    /// Where each step begins, its dot, and its end.
    pub(super) fn places(&self) -> Box<[[u32; 3]]> {
        let mut start = 0;
        let steps = self.text.split(' ').map(|step| {
            let end = start + step.len();
            let dot = start + step.find('.').unwrap_or(step.len());
            // What stands beside a payload is never so long that this would not fit.
            [std::mem::replace(&mut start, end + 1), dot, end].map(|place| place as u32)
        });
        steps.collect()
    }

    /// How many steps there are; at least one.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.steps
    }

    /// The step at `stage`, from 0. A path of one step has that step at every stage, as in pylm.
    ///
    /// # Errors
    /// [`Error::Path`] when the stage is negative or past the last step.
    pub fn step(&self, stage: i64) -> Result<Step<'a>> {
        let step = match (self.steps, usize::try_from(stage)) {
            (1, _) => Some(self.text),
            (_, Ok(index)) => self.text.split(' ').nth(index),
            (_, Err(_)) => None,
        };
        // What it is has been checked.
        step.and_then(|step| step.split_once('.'))
            .map(|(server, function)| Step { server, function })
            .ok_or_else(|| Error::Path {
                path: shown(self.text),
                reason: "the stage is not one of its steps",
            })
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_step_counts_at_every_stage() {
        let path = Path::parse("server.foo").unwrap();
        for stage in [0, 1, 7, -1] {
            assert_eq!(path.step(stage).unwrap().function, "foo");
        }
    }

    #[test]
    fn several_steps_are_taken_by_stage() {
        let path = Path::parse("a.b c.d e.f").unwrap();
        assert_eq!(path.len(), 3);
        assert_eq!(path.step(2).unwrap().to_string(), "e.f");
        assert!(path.step(3).is_err());
        assert!(path.step(-1).is_err());
        assert_eq!(*path.places(), [[0, 1, 3], [4, 5, 7], [8, 9, 11]]);
    }

    #[test]
    fn malformed_paths_are_refused() {
        for text in [
            "",
            " ",
            ".",
            "a",
            "a.",
            ".b",
            "a.b.c",
            "a.b  c.d",
            " a.b",
            "a.b ",
            "a\t.b",
            "a.b\nc.d",
            "a.b\u{a0}c.d",
            "a.b\u{1c}",
            "a.b\0",
        ] {
            assert!(Path::parse(text).is_err(), "{text:?} was taken");
        }
    }
}
