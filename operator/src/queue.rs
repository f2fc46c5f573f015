//! Jobs that are due, and wait until fewer others are looked at.

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The queue. It is fair: who came first is next.
#[derive(Debug)]
pub struct Queue {
    places: Semaphore,
    depth: Gauge,
}

/// Lowers the gauge however the wait ends.
struct WaitingJob<'a>(&'a Gauge);

impl Drop for WaitingJob<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Queue {
    /// One that lets so many pass at once, and shows in a gauge how many wait.
    pub fn new(places: usize, depth: Gauge) -> Self {
        Self { places: Semaphore::new(places.max(1)), depth }
    }

    /// Waits for a place; `None` when no more passes are begun.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.depth.inc();
        let _waiting = WaitingJob(&self.depth);
        self.places.acquire().await.ok()
    }

    /// Begins no more passes: those that wait are turned away.
    pub fn close(&self) {
        self.places.close();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use prometheus_client::metrics::gauge::Gauge;

    use super::Queue;

    #[tokio::test]
    async fn the_gauge_rises_with_those_that_wait_and_falls_when_they_have_a_place_or_give_up() {
        let depth: Gauge = Gauge::default();
        let queue = Queue::new(1, depth.clone());
        let first = queue.place().await.unwrap();
        let (mut second, mut third) = (Box::pin(queue.place()), Box::pin(queue.place()));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        assert_eq!(depth.get(), 2);
        drop(third);
        assert_eq!(depth.get(), 1);
        drop(first);
        assert!(second.await.is_some());
        assert_eq!(depth.get(), 0);
    }

    #[tokio::test]
    async fn nobody_waits_in_a_queue_that_is_closed() {
        let queue = Queue::new(1, Gauge::default());
        let first = queue.place().await;
        let mut second = Box::pin(queue.place());
        assert!((&mut second).now_or_never().is_none());
        queue.close();
        assert!(second.await.is_none() && queue.place().await.is_none());
        drop(first);
    }
}
