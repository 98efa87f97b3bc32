//! A bank that runs by itself, for demonstrations: it looks into its folder and lets its days pass.
//! Deliberately not here: a service of its own; it is a thread.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Bank, BankSettings};

/// A running bank. Dropping it stops it too, without waiting.
pub struct BankHouse {
    bank: Arc<Mutex<Bank>>,
    stop: Sender<()>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl BankHouse {
    /// Opens the bank and looks into its folder every `take_every`. Its day ends every `day_length`, or never by
    /// itself where that is zero.
    pub fn start(settings: BankSettings, take_every: Duration, day_length: Duration) -> anyhow::Result<Self> {
        let bank = Arc::new(Mutex::new(Bank::open(settings)?));
        let (stop, stopped) = mpsc::channel();
        let own = bank.clone();
        let thread = std::thread::Builder::new().name("bank".to_owned()).spawn(move || {
            let mut day_began = Instant::now();
            while stopped.recv_timeout(take_every) == Err(RecvTimeoutError::Timeout) {
                let mut bank = own.lock().unwrap_or_else(PoisonError::into_inner);
                let is_over = !day_length.is_zero() && day_began.elapsed() >= day_length;
                let done = bank.take().and_then(|_| if is_over { bank.end_day().map(|_| ()) } else { Ok(()) });
                if let Err(error) = done {
                    tracing::error!(%error, "the bank stops");
                    return Err(error);
                }
                if is_over {
                    day_began = Instant::now();
                }
            }
            Ok(())
        })?;
        Ok(Self { bank, stop, thread })
    }

    /// Looks at the bank, or does something with it. It does nothing else meanwhile.
    pub fn with<T>(&self, look: impl FnOnce(&mut Bank) -> T) -> T {
        look(&mut self.bank.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stops it, and says what had stopped it before.
    pub fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the bank's thread panicked")))
    }
}
