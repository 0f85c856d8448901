package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
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
	stateOffset  = 1  // idiag_state in it
	uidOffset    = 64 // idiag_uid
	inodeOffset  = 68 // idiag_inode
	idOffset     = 8  // struct inet_diag_sockid in the request
)

// socket is what the kernel tells of one.
type socket struct {
	state byte
	uid   int
	inode uint32
}

const (
	established = 1 // TCP_ESTABLISHED
	// settle is for how long a reset may be under way after the socket that sent it has gone.
	settle = time.Millisecond
)

// uid asks the kernel for the socket whose own address is remote and whose peer is local. One that its program has closed
// has no inode, and counts as root's.
func uid(local, remote netip.AddrPort) (int, error) {
	theirs, err := ask(remote, local)
	switch {
	case errors.Is(err, ErrNotFound):
		time.Sleep(settle)
		if ours, err := ask(local, remote); errors.Is(err, ErrNotFound) || err == nil && ours.state != established {
			return 0, ErrGone
		}
		return 0, ErrNotFound
	case err != nil:
		return 0, err
	case theirs.inode == 0:
		return 0, ErrGone
	}
	return theirs.uid, nil
}

// ask tells of the socket whose own address is from and whose peer is to.
func ask(from, to netip.AddrPort) (socket, error) {
	if !from.IsValid() || !to.IsValid() {
		return socket{}, ErrNotFound
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return socket{}, fmt.Errorf("open sock_diag: %w", err)
	}
	defer unix.Close(fd)
	timeout := unix.NsecToTimeval((100 * time.Millisecond).Nanoseconds())
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout) //nolint:errcheck // the kernel answers at once
	if err := unix.Sendto(fd, request(from, to), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return socket{}, fmt.Errorf("ask sock_diag: %w", err)
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return socket{}, fmt.Errorf("hear sock_diag: %w", err)
	}
	return parse(answer[:n])
}

func request(ownAddr, peerAddr netip.AddrPort) []byte {
	b := make([]byte, headerSize+requestSize)
	native := binary.NativeEndian
	native.PutUint32(b[0:], uint32(len(b)))
	native.PutUint16(b[4:], diagByFamily)
	native.PutUint16(b[6:], unix.NLM_F_REQUEST)
	body := b[headerSize:]
	from, to := ownAddr.Addr().Unmap(), peerAddr.Addr().Unmap()
	body[0] = unix.AF_INET6
	if from.Is4() {
		body[0] = unix.AF_INET
	}
	body[1] = unix.IPPROTO_TCP
	native.PutUint32(body[4:], 0xffffffff) // in any state
	id := body[idOffset:]
	binary.BigEndian.PutUint16(id[0:], ownAddr.Port())
	binary.BigEndian.PutUint16(id[2:], peerAddr.Port())
	copy(id[4:20], from.AsSlice())
	copy(id[20:36], to.AsSlice())
	native.PutUint32(id[40:], 0xffffffff) // INET_DIAG_NOCOOKIE, twice
	native.PutUint32(id[44:], 0xffffffff)
	return b
}

func parse(answer []byte) (socket, error) {
	if len(answer) < headerSize {
		return socket{}, ErrNotFound
	}
	switch binary.NativeEndian.Uint16(answer[4:]) {
	case unix.NLMSG_ERROR:
		if len(answer) >= headerSize+4 {
			if code := int32(binary.NativeEndian.Uint32(answer[headerSize:])); code != 0 && unix.Errno(-code) != unix.ENOENT {
				return socket{}, fmt.Errorf("sock_diag: %w", unix.Errno(-code))
			}
		}
	case diagByFamily:
		if len(answer) >= headerSize+answerSize {
			body, native := answer[headerSize:], binary.NativeEndian
			return socket{body[stateOffset], int(native.Uint32(body[uidOffset:])), native.Uint32(body[inodeOffset:])}, nil
		}
	}
	return socket{}, ErrNotFound
}
