package peer

import (
	"encoding/binary"
	"net/netip"
)

// The parts of macOS's net.inet.tcp.pcblist_n that are used: a header, then records that each begin with their length
// and kind, padded to 8 bytes; a socket is a record of its addresses, followed by one of its owner and others.
// Source: xnu, bsd/netinet/in_pcblist.c, in_pcb.h (xinpcb_n) and bsd/sys/socketvar.h (xsocket_n).
const (
	recordHead = 8
	listHead   = 24 // struct xinpgen, at the beginning and at the end

	kindSocket    = 0x01 // XSO_SOCKET
	kindAddresses = 0x10 // XSO_INPCB

	// In a record of addresses, ports are in network order, and an IPv4 address is the end of an IPv6 address's room.
	foreignPort    = 16
	localPort      = 18
	versions       = 44 // bit 0 for IPv4, bit 1 for IPv6
	foreignAddress = 48
	localAddress   = 64
	addressesSize  = 80

	ownerUID  = 64 // in a record of the owner
	ownerSize = 68
)

// owner finds in list the socket whose own address is remote and whose peer is local, and returns its user's id.
func owner(list []byte, local, remote netip.AddrPort) (int, error) {
	little := binary.LittleEndian // as all Macs are
	if len(list) < listHead {
		return 0, ErrNotFound
	}
	ours := false
	for rest := after(list, little.Uint32(list)); len(rest) >= recordHead; rest = after(rest, little.Uint32(rest)) {
		size, kind := little.Uint32(rest), little.Uint32(rest[4:])
		if size <= listHead || uint64(size) > uint64(len(rest)) { // the end, or what can't be read
			break
		}
		record := rest[:size]
		switch {
		case kind == kindAddresses && size >= addressesSize:
			ours = address(record, localPort, localAddress) == unmapped(remote) && address(record, foreignPort, foreignAddress) == unmapped(local)
		case kind == kindSocket && ours && size >= ownerSize:
			return int(little.Uint32(record[ownerUID:])), nil
		}
	}
	return 0, ErrNotFound
}

// after is what follows a record of that size.
func after(list []byte, size uint32) []byte {
	padded := (uint64(size) + 7) &^ 7
	return list[min(padded, uint64(len(list))):]
}

func address(record []byte, port, at int) netip.AddrPort {
	number := binary.BigEndian.Uint16(record[port:])
	if record[versions]&1 != 0 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(record[at+12:])), number)
	}
	return unmapped(netip.AddrPortFrom(netip.AddrFrom16([16]byte(record[at:])), number))
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
