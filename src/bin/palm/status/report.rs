//! The status for people.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use palm::Status;
use palm::status::{Client, Outlet, Totals, Wait, Why, Worker};

/// All of it: the component, its totals, who is there, and what waits.
pub fn of(status: &Status) -> String {
    let sections = [
        head(status),
        totals(status),
        workers(status),
        clients(status),
        outlets(status),
        waits(status),
    ];
    let sections: Vec<_> = sections
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect();
    sections.join("\n\n") + "\n"
}

fn head(status: &Status) -> String {
    let Status { name, epoch, .. } = status;
    let kind = match status.has_workers {
        true => ", with workers",
        false => "",
    };
    let up = age(status.uptime);
    printable(&format!("{name}{kind}: up {up}, run {epoch}"))
}

fn totals(status: &Status) -> String {
    let of = &status.totals;
    let Totals {
        submitted,
        settled,
        accepted,
        running,
        waiting,
        completed,
        ..
    } = *of;
    let mut lines = Vec::new();
    if status.has_clients {
        lines.push(format!(
            "clients   {submitted} submitted, {settled} done with"
        ));
    }
    if status.has_workers {
        lines.push(format!(
            "tasks     {accepted} accepted, {waiting} waiting, {running} running, {completed} completed"
        ));
        let others = [
            (of.redelivered, "redelivered"),
            (of.doubles, "doubles dropped"),
            (of.given_up, "given up"),
            (of.no_function, "without a function"),
            (of.cancelled, "cancelled"),
        ];
        lines.push(format!("          {}", counts(&others)));
    }
    lines.push(format!(
        "way out   {} delivered, {} undelivered",
        of.delivered, of.undelivered
    ));
    lines.push(format!("refused   {} malformed", of.refused));
    lines.push(format!("memory    {}", memory(of)));
    lines.join("\n")
}

/// How much is held, and where.
fn memory(of: &Totals) -> String {
    let places = [
        (of.inbox_bytes, "of clients"),
        (of.task_bytes, "of tasks"),
        (of.result_bytes, "of results"),
        (of.outlet_bytes, "on the way out"),
    ];
    let places: Vec<_> = places
        .into_iter()
        .filter(|(bytes, _)| *bytes > 0)
        .map(|(bytes, place)| format!("{} {place}", size(bytes)))
        .collect();
    match places[..] {
        [] => "nothing held".to_owned(),
        _ => format!("{} held: {}", size(of.bytes()), places.join(", ")),
    }
}

fn counts(all: &[(u64, &str)]) -> String {
    let all: Vec<_> = all
        .iter()
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    all.join(", ")
}

fn workers(status: &Status) -> String {
    let rows = status.workers.iter().map(|worker| {
        vec![
            worker.name.clone(),
            state(worker).to_owned(),
            worker.given.to_string(),
            worker.credit.to_string(),
            worker.finished.to_string(),
            worker.average.map_or_else(String::new, duration),
        ]
    });
    let header = ["WORKER", "STATE", "GIVEN", "CREDIT", "FINISHED", "AVERAGE"];
    let text = table(&header, 2, rows, status.more_workers);
    match status.pylm_workers {
        0 => text,
        count => joined(text, format!("and on the pylm wire: {count}")),
    }
}

fn state(worker: &Worker) -> &'static str {
    match (worker.connected, worker.draining) {
        (false, _) => "away",
        (true, true) => "leaving",
        (true, false) => "here",
    }
}

fn clients(status: &Status) -> String {
    // Of what it has submitted to others nothing is known.
    let open = |client: &Client| match status.has_clients {
        true => client.open.to_string(),
        false => String::new(),
    };
    let rows = status.clients.iter().map(|client| {
        vec![
            client.session.clone(),
            here(client.connected).to_owned(),
            open(client),
            (client.inbox + client.waiting).to_string(),
            client.running.to_string(),
        ]
    });
    let header = ["CLIENT", "STATE", "OPEN", "WAITING", "RUNNING"];
    table(&header, 2, rows, status.more_clients)
}

fn outlets(status: &Status) -> String {
    let rows = status.outlets.iter().map(|outlet: &Outlet| {
        let taker = match outlet.is_client {
            true => format!("client {}", outlet.session),
            false => format!("{}, topic {}", outlet.name, outlet.topic),
        };
        vec![
            taker,
            here(outlet.connected).to_owned(),
            outlet.kept.to_string(),
            outlet.waiting.to_string(),
            size(outlet.bytes),
        ]
    });
    let header = ["GOES OUT TO", "STATE", "KEPT", "NOT SENT", "BYTES"];
    table(&header, 2, rows, status.more_outlets)
}

fn here(connected: bool) -> &'static str {
    match connected {
        true => "here",
        false => "away",
    }
}

fn waits(status: &Status) -> String {
    if status.waits.is_empty() {
        return "nothing waits".to_owned();
    }
    let mut lines: Vec<_> = status.waits.iter().map(sentence).collect();
    if status.more_waits > 0 {
        lines.push(format!("and {} more", status.more_waits));
    }
    lines.join("\n")
}

fn sentence(wait: &Wait) -> String {
    let Wait {
        whose, messages, ..
    } = wait;
    let who = match wait.is_client {
        true => format!("client {whose}"),
        false => format!("topic {whose}"),
    };
    let count = match messages {
        1 => "1 message waits".to_owned(),
        count => format!("{count} messages wait"),
    };
    let why = match &wait.why {
        Why::NoWorker => "there is no worker".to_owned(),
        Why::NoFunction { function } => format!("no worker has the function '{function}'"),
        Why::AllBusy { workers: 0 } => "its functions are busy".to_owned(),
        Why::AllBusy { workers: 1 } => "the worker is busy".to_owned(),
        Why::AllBusy { .. } => "all workers with its function are busy".to_owned(),
        Why::NoSubscriber { missing: 1 } => {
            "a next step that subscribes to it is missing".to_owned()
        }
        Why::NoSubscriber { missing } => {
            format!("{missing} next steps that subscribe to it are missing")
        }
        Why::NotReading if wait.is_client => "the client has not read what it was given".to_owned(),
        Why::NotReading => "the next step is busy with what it was given".to_owned(),
        Why::Away if wait.is_client => "the client is not connected".to_owned(),
        Why::Away => "the next step is not connected".to_owned(),
        Why::StepShare => "the next step has as much of it as it takes of one client".to_owned(),
        Why::NoRoom => "what goes out is full, as it is not taken".to_owned(),
        _ => "for a reason that this version of palm does not know".to_owned(),
    };
    printable(&format!("{who}: {count}: {why}"))
}

/// Rows in columns, of which the first `words` hold words and the others numbers.
fn table(
    header: &[&str],
    words: usize,
    rows: impl Iterator<Item = Vec<String>>,
    more: u64,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    if table.row_count() == 0 {
        return String::new();
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index >= words {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text = table.trim_fmt();
    match more {
        0 => text,
        more => joined(text, format!("and {more} more")),
    }
}

fn joined(text: String, line: String) -> String {
    match text.is_empty() {
        true => line,
        false => format!("{text}\n{line}"),
    }
}

/// A text of a peer's, without what a terminal would obey.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

/// A time that something runs.
fn duration(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1e-3 => format!("{:.0} µs", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}

/// How long something has been there.
fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// A number of bytes.
fn size(bytes: u64) -> String {
    let of = |unit: u64| bytes as f64 / unit as f64;
    match bytes {
        ..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", of(1 << 10)),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", of(1 << 20)),
        _ => format!("{:.1} GiB", of(1 << 30)),
    }
}
