//! `palm gateway`

use argh::FromArgs;

use crate::common::Outcome;

/// Put HTTP before a server: POST (or GET) of /FUNCTION, or of /SERVER.FUNCTION, is a call with
/// the body as its payload, and the reply is the result. (Needs the feature http.)
#[derive(FromArgs)]
#[argh(subcommand, name = "gateway", help_triggers("-h", "--help", "help"))]
#[cfg_attr(
    not(feature = "http"),
    allow(dead_code, reason = "it only says that it needs the feature")
)]
pub struct Gateway {
    /// address of the server's cache (default: tcp://127.0.0.1:5559)
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5559\")")]
    db: String,
    /// host and port to listen at, port 0 for a free one (default: 127.0.0.1:8888)
    #[argh(option, default = "String::from(\"127.0.0.1:8888\")")]
    listen: String,
    /// where to push messages (default: as the server tells at db)
    #[argh(option)]
    pull: Option<String>,
    /// where to subscribe for results (default: as the server tells at db)
    #[argh(option, long = "pub")]
    publish: Option<String>,
    /// how many seconds to wait for the server, and then for each result, 0 for as long as it
    /// takes (default: 10 for the server, 30 for a result)
    #[argh(option)]
    timeout: Option<f64>,
    /// how many requests may be open at once (default: 1024)
    #[argh(option)]
    concurrent: Option<usize>,
    /// the largest body to take, in bytes (default: 67108864)
    #[argh(option)]
    max: Option<usize>,
    /// log what it does, on standard error
    #[argh(switch, short = 'i')]
    info: bool,
    /// log everything
    #[argh(switch, short = 'd')]
    debug: bool,
}

impl Gateway {
    #[cfg(feature = "http")]
    pub fn run(self) -> Outcome {
        use crate::common::{FOREVER, log_level, run_at, timeout};

        log_level(self.debug, self.info);
        let mut front = palm::http::Front::new(self.db, self.listen);
        if let Some(seconds) = self.timeout {
            let time = timeout(seconds)?.unwrap_or(FOREVER);
            front = front.wait(time).timeout(time);
        }
        if let Some(requests) = self.concurrent {
            front = front.concurrent(requests);
        }
        if let Some(bytes) = self.max {
            front = front.max_message(bytes);
        }
        if let Some(address) = self.pull {
            front = front.pull(address);
        }
        if let Some(address) = self.publish {
            front = front.publish(address);
        }
        let running = front.start()?;
        let url = running.address_of("Gateway").unwrap_or_default().to_owned();
        run_at(&running, &url)
    }

    #[cfg(not(feature = "http"))]
    pub fn run(self) -> Outcome {
        Err(crate::common::Failure::usage(
            "this palm was built without HTTP: build it with --features http",
        ))
    }
}
