//! Wakes a worker at steady intervals.
//!
//! apalis has an interval of its own, but its 1.0.0 forgets to ask to be woken again when the interval passes while
//! a fetch is under way: the worker then sleeps until its next heartbeat. Deliberately not here: anything else.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use apalis_core::backend::ext::poll_strategy::{PollSnapshot, PollStrategy};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Ticks at an interval; each time it is asked, a waker is left behind.
#[derive(Debug)]
pub struct Tick {
    every: Duration,
    ticks: Option<Pin<Box<Interval>>>,
}

impl Tick {
    /// Ticks every `every`.
    pub fn new(every: Duration) -> Self {
        Self { every, ticks: None }
    }
}

impl PollStrategy for Tick {
    fn poll_drive(&mut self, cx: &mut Context<'_>, _snapshot: &PollSnapshot) -> Poll<Option<()>> {
        // The interval needs a runtime around it, which there is only once the worker runs.
        let ticks = self.ticks.get_or_insert_with(|| {
            let mut ticks = interval(self.every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            Box::pin(ticks)
        });
        let mut ticked = Poll::Pending;
        while ticks.poll_tick(cx).is_ready() {
            ticked = Poll::Ready(Some(()));
        }
        ticked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_was_told_of_a_tick_is_woken_for_the_next() {
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(woken.clone());
        let mut tick = Tick::new(Duration::from_millis(10));
        for tick_number in 1..4 {
            assert!(tick.poll_drive(&mut Context::from_waker(&waker), &PollSnapshot::default()).is_ready());
            tokio::time::sleep(Duration::from_millis(11)).await;
            assert_eq!(woken.0.load(Ordering::SeqCst), tick_number);
        }
    }
}
