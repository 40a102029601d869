package iptables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/cespare/xxhash/v2"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// nftStamp is the number of the kernel's generation of nftables rules. It grows by one with each transaction, whatever
// program made it.
func nftStamp() (stamp, error) {
	const getGeneration = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN
	req := nl.NewNetlinkRequest(getGeneration, 0)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
	replies, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return stamp{}, fmt.Errorf("generation of the nftables rules: %w", err)
	}
	for _, reply := range replies {
		attrs, err := nl.ParseRouteAttr(reply[nl.SizeofNfgenmsg:])
		if err != nil {
			return stamp{}, fmt.Errorf("generation of the nftables rules: %w", err)
		}
		for _, a := range attrs {
			if a.Attr.Type == unix.NFTA_GEN_ID && len(a.Value) >= 4 {
				return stamp{1, uint64(binary.BigEndian.Uint32(a.Value))}, nil
			}
		}
	}
	return stamp{}, errors.New("generation of the nftables rules: the kernel names none")
}

// plus is the stamp of nft after so many more transactions.
func (s stamp) plus(transactions int) stamp {
	return stamp{s[0], uint64(uint32(s[1]) + uint32(transactions))}
}

// legacyStamp is a hash of both tables as the kernel holds them, but for their counters. The kernel has no number that
// changes with them, yet hands them over a hundred times faster than iptables-save prints them.
func legacyStamp() (stamp, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return stamp{}, fmt.Errorf("legacy tables: %w", err)
	}
	defer unix.Close(fd)
	nat, err := hashTable(fd, "nat")
	if err != nil {
		return stamp{}, err
	}
	filter, err := hashTable(fd, "filter")
	return stamp{nat, filter}, err
}

// The kernel's interface to legacy tables: linux/netfilter_ipv4/ip_tables.h.
const (
	getInfo    = 64 // IPT_SO_GET_INFO
	getEntries = 65 // IPT_SO_GET_ENTRIES

	infoLength    = 84 // struct ipt_getinfo
	infoSize      = 80 // its field size: the length of all entries
	entriesHeader = 40 // struct ipt_get_entries before the entries
	nameLength    = 32 // of a table

	entryNext     = 90 // struct ipt_entry, field next_offset
	entryMeta     = 92 // from here to entryElements it holds what the kernel notes for itself, and counters
	entryElements = 112
)

// hashTable hashes a table's entries. One that nobody has loaded hashes to zero.
func hashTable(fd int, name string) (uint64, error) {
	for {
		info := make([]byte, infoLength)
		copy(info, name)
		if err := getsockopt(fd, getInfo, info); errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOPROTOOPT) {
			return 0, nil
		} else if err != nil {
			return 0, fmt.Errorf("legacy table %s: %w", name, err)
		}
		size := binary.NativeEndian.Uint32(info[infoSize:])
		table := make([]byte, entriesHeader+int(size))
		copy(table, name)
		binary.NativeEndian.PutUint32(table[nameLength:], size)
		if err := getsockopt(fd, getEntries, table); errors.Is(err, unix.EAGAIN) {
			continue // it has changed between the two calls
		} else if err != nil {
			return 0, fmt.Errorf("legacy table %s: %w", name, err)
		}
		return hashEntries(table[entriesHeader:]), nil
	}
}

// hashEntries hashes the entries, whose counters it wipes.
func hashEntries(entries []byte) uint64 {
	for rest := entries; len(rest) >= entryElements; {
		next := int(binary.NativeEndian.Uint16(rest[entryNext:]))
		if next < entryElements || next > len(rest) {
			break
		}
		clear(rest[entryMeta:entryElements])
		rest = rest[next:]
	}
	return xxhash.Sum64(entries) | 1
}

func getsockopt(fd, option int, buffer []byte) error {
	length := uint32(len(buffer))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, uintptr(option),
		uintptr(unsafe.Pointer(&buffer[0])), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
