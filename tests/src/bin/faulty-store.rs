//! Stands between pods and the S3 server, and does to their requests what a store in trouble does.
//!
//! ```text
//! faulty-store LISTEN SERVER    as in `faulty-store 10.88.0.2:7071 10.88.0.2:7070`
//! ```
//!
//! Each line on stdin names what happens from then on: `pass`, or a fault as in [`Fault::parse`]. It is answered by a
//! line with the number of requests that the fault before it has met. The end of stdin is the end of the process.
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
#![warn(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use std::io::{BufRead as _, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Pass,
    /// It is answered with 503 SlowDown.
    Unavailable,
    /// Its connection is reset, and the server never sees it.
    Reset,
    /// Nothing happens until the fault is over, and then it arrives.
    Hang,
    /// Each piece takes 200 ms.
    Slow,
    /// The server does it, and the connection is reset in place of its answer.
    LoseAnswer,
    /// The answer breaks off in its middle.
    CutAnswer,
}

impl Fault {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "pass" => Self::Pass,
            "unavailable" => Self::Unavailable,
            "reset" => Self::Reset,
            "hang" => Self::Hang,
            "slow" => Self::Slow,
            "lose-answer" => Self::LoseAnswer,
            "cut-answer" => Self::CutAnswer,
            _ => return None,
        })
    }
}

#[derive(Debug)]
struct Faulty {
    fault: Mutex<Fault>,
    met: AtomicU64,
}

impl Faulty {
    fn now(&self) -> Fault {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, fault: Fault) -> u64 {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        self.met.swap(0, Relaxed)
    }

    /// Waits for as long as requests hang.
    fn wait(&self) {
        while self.now() == Fault::Hang {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// From the client to the server; the end of the connection is an error too.
    fn requests(&self, client: &mut TcpStream, server: &mut TcpStream) -> std::io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            // A connection that is closed with bytes unread is reset.
            client.peek(&mut buffer[..1])?;
            let fault = self.now();
            if fault != Fault::Pass {
                self.met.fetch_add(1, Relaxed);
            }
            if fault == Fault::Reset {
                return Ok(());
            }
            let n = client.read(&mut buffer)?;
            if n == 0 {
                return server.shutdown(Shutdown::Write);
            }
            match fault {
                Fault::Unavailable => {
                    let body = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
                    let length = body.len();
                    return write!(
                        client,
                        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                    );
                }
                Fault::Hang => self.wait(),
                Fault::Slow => std::thread::sleep(Duration::from_millis(200)),
                _ => {}
            }
            server.write_all(&buffer[..n])?;
        }
    }

    /// From the server to the client.
    fn answers(&self, server: &mut TcpStream, client: &mut TcpStream) -> std::io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let n = server.read(&mut buffer)?;
            if n == 0 {
                return client.shutdown(Shutdown::Write);
            }
            match self.now() {
                Fault::LoseAnswer => return Ok(()),
                Fault::CutAnswer => return client.write_all(&buffer[..n / 2]),
                Fault::Hang => self.wait(),
                Fault::Slow => std::thread::sleep(Duration::from_millis(200)),
                _ => {}
            }
            client.write_all(&buffer[..n])?;
        }
    }
}

/// One connection, and one to the server for it. When either way is over, both are.
fn serve(faulty: &Arc<Faulty>, client: TcpStream, server: TcpStream) -> std::io::Result<()> {
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let of_answers = Arc::clone(faulty);
    let requests = Arc::clone(faulty);
    let both = [client, server];
    let ends = [both[0].try_clone()?, both[1].try_clone()?];
    std::thread::spawn(move || {
        let _ = requests.requests(&mut from_client, &mut to_server);
        both.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    });
    std::thread::spawn(move || {
        let _ = of_answers.answers(&mut from_server, &mut to_client);
        ends.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    });
    Ok(())
}

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(server)) = (args.next(), args.next()) else {
        return Err(std::io::Error::other("usage: faulty-store LISTEN SERVER"));
    };
    let faulty = Arc::new(Faulty { fault: Mutex::new(Fault::Pass), met: AtomicU64::new(0) });
    let listener = TcpListener::bind(&listen)?;
    let of_listener = Arc::clone(&faulty);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // No server, no connection: the client's is reset.
            if let Ok(server) = TcpStream::connect(&server) {
                let _ = serve(&of_listener, client, server);
            }
        }
    });
    println!("listening on {listen}");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match Fault::parse(&line) {
            Some(fault) => println!("{}", faulty.set(fault)),
            None => return Err(std::io::Error::other(format!("no fault is called {line}"))),
        }
    }
    Ok(())
}
