//! Probes: pylm publishers drop what is published before somebody is subscribed, and do not tell
//! who is. What has gone through a chain once will go through it again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use palm::PalmMessage;

use super::example::Probe;
use crate::support::SOON;

/// How long a probe may take before the next is sent.
const A_WHILE: Duration = Duration::from_millis(100);

/// Sends probes, one after another, until the one that was sent last comes back, and `heard`
/// says that whoever does not answer has got one too. Nothing else is sent meanwhile, and every
/// step works in order: so none is left at the first step afterwards.
pub fn until_they_return(
    probe: &Probe,
    pull: &str,
    publish: &str,
    heard: impl Fn() -> bool,
) -> Result<(), String> {
    let wire = Wire::connect(pull, publish).map_err(|error| error.to_string())?;
    let deadline = Instant::now() + SOON;
    let mut returned = BTreeSet::new();
    for number in 0_u64.. {
        wire.send(probe.function, number)
            .map_err(|error| error.to_string())?;
        wire.receive(number, &mut returned);
        let both = [0, 1].map(|branch| returned.iter().any(|number| number % 2 == branch));
        let all_branches = !probe.both_branches || both == [true, true];
        if returned.contains(&number) && all_branches && heard() {
            break;
        }
        if Instant::now() > deadline {
            return Err(format!(
                "of {number} probes only {returned:?} came back within {SOON:?}, or some step \
                 that does not answer has got none"
            ));
        }
    }
    Ok(())
}

/// A client without any of what palm's does for its user.
struct Wire {
    id: String,
    push: zmq::Socket,
    results: zmq::Socket,
}

impl Wire {
    fn connect(pull: &str, publish: &str) -> zmq::Result<Self> {
        let id = uuid::Uuid::new_v4().to_string();
        let context = zmq::Context::new();
        let push = context.socket(zmq::PUSH)?;
        push.set_linger(0)?;
        push.connect(&format!("tcp://{pull}"))?;
        let results = context.socket(zmq::SUB)?;
        results.set_subscribe(id.as_bytes())?;
        results.connect(&format!("tcp://{publish}"))?;
        Ok(Self { id, push, results })
    }

    fn send(&self, function: &str, number: u64) -> zmq::Result<()> {
        let message = PalmMessage {
            pipeline: self.id.clone(),
            client: self.id.clone(),
            function: function.to_owned(),
            payload: format!("probe {number}").into_bytes(),
            ..Default::default()
        };
        // It waits for the server to be there.
        self.push.send(message.encode_frame(), 0)
    }

    /// Adds the numbers of the probes that come back, until this one has.
    fn receive(&self, number: u64, returned: &mut BTreeSet<u64>) {
        let deadline = Instant::now() + A_WHILE;
        while !returned.contains(&number) {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = i64::try_from(left.as_millis()).unwrap_or(0);
            if left == 0 || self.results.poll(zmq::POLLIN, left) != Ok(1) {
                break;
            }
            returned.extend(self.results.recv_multipart(0).ok().and_then(number_of));
        }
    }
}

/// The number of the probe in a result, which is its last word.
fn number_of(frames: Vec<Vec<u8>>) -> Option<u64> {
    let message = PalmMessage::decode_frame(frames.get(1)?, 1 << 20).ok()?;
    let text = String::from_utf8(message.payload).ok()?;
    text.rsplit(' ').next()?.parse().ok()
}
