package peer

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Supported reports whether this system tells.
const Supported = true

// The parts of sock_diag that are used. Source: Linux, include/uapi/linux/sock_diag.h and inet_diag.h; man 7 sock_diag.
const (
	diagByFamily = 20 // SOCK_DIAG_BY_FAMILY
	headerSize   = 16 // struct nlmsghdr
	requestSize  = 56 // struct inet_diag_req_v2
	answerSize   = 72 // struct inet_diag_msg
	uidOffset    = 64 // idiag_uid in it
	inodeOffset  = 68 // idiag_inode
	idOffset     = 8  // struct inet_diag_sockid in the request
)

// settle is for how long a reset may be under way after the socket that sent it has gone.
const settle = time.Millisecond

// left reports whether the other end of c has closed it, or reset it. c itself is asked: sock_diag finds no socket of a
// link-local address, and none at all in a kernel that lacks it.
func left(c net.Conn) bool {
	own, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := own.SyscallConn()
	if err != nil {
		return false
	}
	time.Sleep(settle)
	gone := false
	raw.Control(func(fd uintptr) { //nolint:errcheck // then this program has closed it
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		gone = err == nil && info.State != established
	})
	return gone
}

const established = 1 // TCP_ESTABLISHED

// uid asks the kernel for the socket whose own address is remote and whose peer is local.
func uid(local, remote netip.AddrPort) (int, error) {
	if !remote.IsValid() || !local.IsValid() {
		return 0, ErrNotFound
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, fmt.Errorf("open sock_diag: %w", err)
	}
	defer unix.Close(fd)
	timeout := unix.NsecToTimeval((100 * time.Millisecond).Nanoseconds())
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout) //nolint:errcheck // the kernel answers at once
	if err := unix.Sendto(fd, request(local, remote), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("ask sock_diag: %w", err)
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return 0, fmt.Errorf("hear sock_diag: %w", err)
	}
	return parse(answer[:n])
}

func request(local, remote netip.AddrPort) []byte {
	b := make([]byte, headerSize+requestSize)
	native := binary.NativeEndian
	native.PutUint32(b[0:], uint32(len(b)))
	native.PutUint16(b[4:], diagByFamily)
	native.PutUint16(b[6:], unix.NLM_F_REQUEST)
	body := b[headerSize:]
	from, to := remote.Addr().Unmap(), local.Addr().Unmap()
	body[0] = unix.AF_INET6
	if from.Is4() {
		body[0] = unix.AF_INET
	}
	body[1] = unix.IPPROTO_TCP
	native.PutUint32(body[4:], 0xffffffff) // in any state
	id := body[idOffset:]
	binary.BigEndian.PutUint16(id[0:], remote.Port())
	binary.BigEndian.PutUint16(id[2:], local.Port())
	copy(id[4:20], from.AsSlice())
	copy(id[20:36], to.AsSlice())
	native.PutUint32(id[40:], 0xffffffff) // INET_DIAG_NOCOOKIE, twice
	native.PutUint32(id[44:], 0xffffffff)
	return b
}

// parse reads who owns the socket. One that its program has closed has no inode, and counts as root's.
func parse(answer []byte) (int, error) {
	if len(answer) < headerSize {
		return 0, ErrNotFound
	}
	switch binary.NativeEndian.Uint16(answer[4:]) {
	case unix.NLMSG_ERROR:
		if len(answer) >= headerSize+4 {
			if code := int32(binary.NativeEndian.Uint32(answer[headerSize:])); code != 0 && unix.Errno(-code) != unix.ENOENT {
				return 0, fmt.Errorf("sock_diag: %w", unix.Errno(-code))
			}
		}
	case diagByFamily:
		if len(answer) >= headerSize+answerSize {
			if body := answer[headerSize:]; binary.NativeEndian.Uint32(body[inodeOffset:]) != 0 {
				return int(binary.NativeEndian.Uint32(body[uidOffset:])), nil
			}
			return 0, ErrGone
		}
	}
	return 0, ErrNotFound
}
