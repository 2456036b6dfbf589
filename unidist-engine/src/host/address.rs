//! The address of the host that this process runs on.

use std::net::{IpAddr, ToSocketAddrs, UdpSocket};

/// The address by which other hosts reach this one: that of the default route, else that of the host's name, else the
/// loopback address.
///
/// Connecting a datagram socket sends nothing: the system only chooses a route, here to an address that is reserved for
/// documentation (RFC 5737).
pub fn host_address() -> String {
    let routed = UdpSocket::bind(("0.0.0.0", 0)).and_then(|socket| {
        socket.connect(("192.0.2.1", 9))?;
        socket.local_addr()
    });
    let routed = routed.ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified());
    routed.or_else(address_of_host_name).map_or_else(|| "127.0.0.1".to_owned(), |ip| ip.to_string())
}

/// The name of this host.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn address_of_host_name() -> Option<IpAddr> {
    let name = host_name();
    let addresses = (name.as_str(), 0).to_socket_addrs().ok()?;
    addresses.map(|address| address.ip()).find(|ip| ip.is_ipv4() && !ip.is_loopback())
}
