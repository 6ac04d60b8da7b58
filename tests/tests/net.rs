//! Linux on its network: Debian's own driver of virtio's card and BusyBox's programs, behind a
//! user-mode network whose world is this test.
//!
//! The guests come from `tests/guests/fetch`; without them the tests say that they skip.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
};

use trine_tests::{
    console::{Console, ask, guests, patience, power_off, run},
    folder::Folder,
    initramfs::initramfs,
};

/// Drivers of the cloud kernel.
const MODULES: [&str; 2] = ["virtio_pci", "virtio_net"];

/// What udhcpc runs when it has heard of something.
const LEASE_SCRIPT: &str = "#!/bin/sh
[ $1 = bound ] || exit 0
ip addr add $ip/$mask dev $interface
ip route add default via $router
echo nameserver $dns >/etc/resolv.conf
echo ip=$ip/$mask router=$router dns=$dns domain=$domain search=$search host=$hostname \
boot=$boot_file next=$siaddr lease=$lease
";

/// The script that brings the network up.
const UP: &str = "sh /drivers 2>/dev/null
ip link set lo up
mkdir -p /etc
until ip link set eth0 up 2>/dev/null; do sleep 0.1; done
udhcpc -i eth0 -s /lease -n -q -t 20 2>/dev/null
";

const LEASE: &str = "ip=10.0.2.15/24 router=10.0.2.2 dns=10.0.2.3 domain=example.org \
                     search=example.org host=box boot=file next=10.0.2.2 lease=86400";

/// The arguments that boot Linux with `--net` and this on the kernel's command line.
fn arguments(folder: &Folder, net: &str, append: &str) -> Option<Vec<String>> {
    let guests = guests()?;
    let file = folder.path("initramfs");
    let files = [("lease", LEASE_SCRIPT), ("up", UP)];
    fs::write(&file, initramfs(&guests, "cloud", &MODULES, &files)).expect("there is room");
    let kernel = guests.join("cloud/vmlinuz").display().to_string();
    let append = format!("console=ttyS0 quiet {append}");
    let all = ["run", "--no-reboot", "--kernel", &kernel, "--initrd", &file, "--append", &append];
    Some(all.into_iter().chain(["--net", net]).map(str::to_owned).collect())
}

/// Bytes of which no two pieces are the same.
fn contents(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..len / 8).flat_map(|_| next()).collect()
}

/// An HTTP server of `body`. Its port.
fn http(body: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                request.push(byte[0]);
            }
            let header = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(header.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    port
}

/// A server that says how much it got, and whether that was `expected`. Its port.
fn sink(expected: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all);
            let is_right = all == expected;
            let _ = stream.write_all(format!("{} {is_right}\n", all.len()).as_bytes());
        }
    });
    port
}

/// A DNS server that says of every name that it is at 192.0.2.7 (RFC 1035, section 4). Its port.
fn resolver() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
            let question = &buffer[..len];
            let end = question[12..].iter().position(|byte| *byte == 0).expect("a name") + 17;
            let is_ipv4 = question[end - 4..end - 2] == [0, 1];
            let mut answer = question[..2].to_vec();
            answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_ipv4), 0, 0, 0, 0]);
            answer.extend(&question[12..end]);
            if is_ipv4 {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
            }
            let _ = socket.send_to(&answer, peer);
        }
    });
    port
}

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it is bound").port()
}

/// Everything that a guest does on a network.
fn work(console: &mut Console, ports: [u16; 4], body: &[u8]) {
    let [http, sink, resolver, forwarded] = ports;
    assert_eq!(
        ask(console, "ping -c 2 -q 10.0.2.2 | grep -o '2 packets received'"),
        "2 packets received"
    );
    assert!(ask(console, "ping -c 1 -q -s 5000 10.0.2.3").contains("1 packets received"));
    let answer = ask(console, "nslookup trine.example 10.0.2.3");
    assert!(answer.contains("192.0.2.7"), "{answer}");
    // TFTP brings the same file as HTTP does.
    ask(console, "tftp -g -r file -l /tftp -b 1400 10.0.2.2");
    ask(console, &format!("wget -q -O /http http://10.0.2.2:{http}/file"));
    assert_eq!(ask(console, "wc -c </http"), body.len().to_string());
    assert_eq!(ask(console, "cmp /tftp /http && echo same"), "same");
    let sent = ask(console, &format!("nc 10.0.2.2 {sink} </http"));
    assert_eq!(sent, format!("{} true", body.len()));
    // The same, as any other datagrams to the host.
    let answer = ask(console, &format!("nslookup trine.example 10.0.2.2:{resolver}"));
    assert!(answer.contains("192.0.2.7"), "{answer}");
    let refused = ask(console, "nc 10.0.2.2 1 </dev/null 2>&1");
    assert!(refused.contains("refused"), "{refused}");
    // Somebody connects to the guest.
    ask(console, "nc -l -p 7 </http >/heard & until netstat -ltn | grep -q :7; do :; done");
    let mut stream = TcpStream::connect(("127.0.0.1", forwarded)).expect("it is forwarded");
    stream.set_read_timeout(Some(patience())).expect("set");
    stream.write_all(b"knock").expect("written");
    // It is done as soon as we are.
    let mut all = vec![0; body.len()];
    stream.read_exact(&mut all).expect("it is read");
    drop(stream);
    assert!(all == body);
    assert_eq!(ask(console, "wait; cat /heard"), "knock");
}

/// Whether `bytes` are somewhere in `all`.
fn contains(all: &[u8], bytes: &[u8]) -> bool {
    all.windows(bytes.len()).any(|window| window == bytes)
}

#[test]
fn linux_works_on_a_user_network_and_moves_while_it_does() {
    let folder = Folder::new("net");
    let body = contents(3 << 20);
    fs::write(folder.path("file"), &body).expect("there is room");
    let (http, sink, resolver) = (http(body.clone()), sink(body.clone()), resolver());
    let (forwarded, pcap) = (free_port(), folder.path("pcap"));
    let net = format!(
        "user,hostfwd=tcp:127.0.0.1:{forwarded}-:7,resolver=127.0.0.1:{resolver},tftp={},bootfile=file,\
         hostname=box,domainname=example.org,dnssearch=example.org,pcap={pcap}",
        folder.at().display(),
    );
    let Some(mut arguments) = arguments(&folder, &net, "") else { return };
    // Every 50 ms, from before the drivers are loaded.
    let engines = ["interp", "translate"];
    let switch = |n: usize| format!("{}ms={}", 2000 + n * 50, engines[n % 2]);
    arguments.extend((0..200).flat_map(|n| ["--switch".to_owned(), switch(n)]));
    let mut console = Console::start(&arguments);
    console.wait_for("/ #").unwrap_or_else(|silence| panic!("{silence}"));
    assert_eq!(ask(&mut console, "sh /up"), LEASE);
    work(&mut console, [http, sink, resolver, forwarded], &body);
    power_off(console);
    let written = fs::read(pcap).expect("it is there");
    assert_eq!(written[..4], 0xa1b2_3c4d_u32.to_le_bytes());
    for bytes in [&b"trine\x07example"[..], b"knock", b"GET /file HTTP/1.1", &body[..1000]] {
        assert!(contains(&written, bytes), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn a_counted_run_is_the_same_with_a_closed_network() {
    let folder = Folder::new("net-counted");
    fs::write(folder.path("file"), contents(100_000)).expect("there is room");
    let net = |pcap: &str| {
        let (tftp, pcap) = (folder.at().display().to_string(), folder.path(pcap));
        format!("user,restrict=on,tftp={tftp},bootfile=file,pcap={pcap}")
    };
    // Commas stand for spaces in what the initramfs runs.
    let work = "run=sh,/up;ping,-c,3,10.0.2.2;tftp,-g,-r,file,-l,/f,-b,1400,10.0.2.2;md5sum,/f;\
         nc,10.0.2.2,80;nc,192.0.2.1,80;cat,/proc/interrupts";
    let counted = |engine: &str| {
        let mut arguments = arguments(&folder, &net(engine), work)?;
        let clock = ["--engine", engine, "--clock", "instructions"];
        arguments.extend(clock.map(str::to_owned));
        let ending = run(&arguments);
        assert_eq!(ending.status.code(), Some(0), "{}", ending.stderr);
        let said = String::from_utf8_lossy(&ending.stdout).into_owned();
        assert!(said.contains("ip=10.0.2.15") && said.contains("3 packets received"), "{said}");
        Some((said, fs::read(folder.path(engine)).expect("it is there")))
    };
    let Some(first) = counted("translate") else { return };
    assert!(counted("interp").is_some_and(|second| second == first), "{}", first.0);
}

#[test]
fn what_is_outside_cannot_be_counted() {
    for net in ["user", "tap,ifname=tap0", "user,restrict=on,hostfwd=tcp::1-:1"] {
        let ending = run(&["run", "--clock", "instructions", "--net", net]);
        assert_eq!(ending.status.code(), Some(1));
        assert!(ending.stderr.contains("restrict=on"), "{}", ending.stderr);
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at: SocketAddr = taken.local_addr().expect("it is bound");
    assert_eq!(at.ip(), Ipv4Addr::LOCALHOST);
    let ending = run(&["run", "--net", &format!("user,hostfwd=tcp:{at}-:1")]);
    assert_eq!(ending.status.code(), Some(1));
    assert!(ending.stderr.contains(&at.to_string()), "{}", ending.stderr);
}
