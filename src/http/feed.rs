//! The way of messages from the requests to the router.

use tokio::sync::{mpsc, oneshot, watch};

use super::limits::Held;
use super::server::{Alive, over};
use crate::message::Frame;
use crate::part::{Batch, NotSent, Outlet, Signal};

/// How many messages wait to be handed over together.
const WAITING: usize = 256;

/// The end that requests put messages in at.
#[derive(Debug)]
pub(super) struct Feed(mpsc::Sender<Item>);

#[derive(Debug)]
struct Item {
    frame: Frame,
    /// What the request holds of the memory for bodies, until the message is handed over.
    held: Held,
    taken: oneshot::Sender<()>,
}

/// The other end, where they are handed over.
pub(super) struct Feeding {
    items: mpsc::Receiver<Item>,
    outlet: Outlet,
}

/// A way into this outlet.
pub(super) fn feed(outlet: Outlet) -> (Feed, Feeding) {
    let (sender, items) = mpsc::channel(WAITING);
    (Feed(sender), Feeding { items, outlet })
}

impl Feed {
    /// Sends a message, and waits until it is handed over. False when none is taken any more.
    pub(super) async fn send(&self, frame: Frame, held: Held) -> bool {
        let (taken, is_taken) = oneshot::channel();
        let item = Item { frame, held, taken };
        self.0.send(item).await.is_ok() && is_taken.await.is_ok()
    }
}

impl Feeding {
    /// Hands over what comes, until nothing more is taken: what was sent by then is. False when
    /// nobody took it any more.
    pub(super) async fn run(
        mut self,
        mut ending: watch::Receiver<bool>,
        hard: Signal,
        _: Alive,
    ) -> bool {
        let mut closed = false;
        loop {
            tokio::select! {
                item = self.items.recv() => match item {
                    Some(item) => if !self.hand_over(item, &hard).await { return false },
                    None => return true,
                },
                () = over(&mut ending), if !closed => {
                    closed = true;
                    self.items.close();
                }
            }
        }
    }

    /// Hands over a message and those that wait behind it. False when nobody takes them.
    async fn hand_over(&mut self, first: Item, hard: &Signal) -> bool {
        let (mut batch, mut taken, mut held) = (Batch::new(), Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(item) = next {
            batch.push(item.frame);
            taken.push(item.taken);
            held.push(item.held);
            let more = self.outlet.next_in(&batch).is_some();
            next = more.then(|| self.items.try_recv().ok()).flatten();
        }
        let sent = match self.outlet.try_send(batch) {
            Err(NotSent::Full(batch)) => self.wait_and_send(batch, hard.clone()).await,
            sent => sent.is_ok(),
        };
        if sent {
            for request in taken {
                // One that has hung up needs to hear nothing.
                let _ = request.send(());
            }
        }
        sent
    }

    /// Waits for room, which only a thread can.
    async fn wait_and_send(&self, batch: Batch, hard: Signal) -> bool {
        let outlet = self.outlet.clone();
        let send = move || outlet.send_until(batch, &hard).is_ok();
        tokio::task::spawn_blocking(send).await.unwrap_or(false)
    }
}
