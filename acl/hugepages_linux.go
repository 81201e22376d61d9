package acl

import (
	"os"
	"syscall"
	"unsafe"
)

// adviseHugePages asks for huge pages behind b, which should not have been filled
// yet. Where memory is mapped in pages of 4 KiB, a read somewhere in a table of
// many megabytes is two reads mostly: one of where the page is, and one of the
// page. An error loses nothing but that; it is for tests to see.
func adviseHugePages(b []byte) error {
	const (
		least        = 8 << 20 // a few huge pages; less is in the cache anyhow
		madvHugepage = 14      // MADV_HUGEPAGE, which package syscall lacks
	)
	if len(b) < least {
		return nil
	}
	page := os.Getpagesize()
	b = b[-int(uintptr(unsafe.Pointer(unsafe.SliceData(b))))&(page-1):]
	return syscall.Madvise(b[:len(b)&^(page-1)], madvHugepage)
}
