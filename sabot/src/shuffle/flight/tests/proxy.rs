//! A proxy between two processes: it cuts, stalls, slows down and heals.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(super) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: SocketAddr,
    open: Mutex<Vec<TcpStream>>,
    /// Takes no connections.
    down: AtomicBool,
    /// Passes nothing on.
    stalled: AtomicBool,
    /// Bytes per second, or 0 for as many as come.
    rate: AtomicU64,
    /// Bytes that passed.
    passed: AtomicU64,
}

impl Proxy {
    pub(super) fn new(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target,
            open: Mutex::default(),
            down: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            rate: AtomicU64::new(0),
            passed: AtomicU64::new(0),
        });
        let inner = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if inner.down.load(SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(inner.target) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to, inner) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(&inner));
                    std::thread::spawn(move || inner.copy(from, to));
                }
                inner.open.lock().unwrap().extend([client, server]);
            }
        });
        Proxy { address, shared }
    }
    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }
    /// Cuts all connections; new ones may be made at once.
    pub(super) fn cut(&self) {
        self.shared.open.lock().unwrap().drain(..).for_each(|s| drop(s.shutdown(Shutdown::Both)));
    }
    /// Cuts all connections and takes none until it is up again.
    pub(super) fn down(&self, down: bool) {
        self.shared.down.store(down, SeqCst);
        if down {
            self.cut();
        }
    }
    pub(super) fn stall(&self, stalled: bool) {
        self.shared.stalled.store(stalled, SeqCst);
    }
    pub(super) fn rate(&self, bytes_per_second: u64) {
        self.shared.rate.store(bytes_per_second, SeqCst);
    }
    pub(super) fn passed(&self) -> u64 {
        self.shared.passed.load(SeqCst)
    }
}

impl Shared {
    fn copy(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            while self.stalled.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(2));
            }
            let rate = self.rate.load(SeqCst);
            if rate > 0 {
                std::thread::sleep(Duration::from_secs_f64(n as f64 / rate as f64));
            }
            if to.write_all(&buffer[..n]).is_err() {
                break;
            }
            self.passed.fetch_add(n as u64, SeqCst);
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}
